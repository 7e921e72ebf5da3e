#include "autograd/optim/state.h"

#include <unordered_map>

#include "framework/fail.h"

namespace attune {

void load_named_tensors(const std::string& who, const NamedTensors& own, const NamedTensors& given) {
  std::unordered_map<std::string, const Tensor*> left;
  for (const auto& [name, tensor] : given) left.emplace(name, &tensor);
  std::vector<std::string> problems;
  for (const auto& [name, tensor] : own) {
    const auto found = left.find(name);
    if (found == left.end()) {
      problems.push_back(fmt::format("{} {} is missing", name, tensor.shape()));
      continue;
    }
    if (found->second->shape() != tensor.shape()) {
      problems.push_back(fmt::format("{} is {}, expected {}", name, found->second->shape(), tensor.shape()));
    }
  }
  for (const auto& [name, tensor] : own) left.erase(name);
  for (const auto& [name, tensor] : given) {
    if (left.count(name) > 0) problems.push_back(fmt::format("{} {} is unexpected", name, tensor.shape()));
  }
  require<ShapeError>(problems.empty(), "{}: the saved state belongs to other parameters or options: {}", who,
                      fmt::join(problems, "; "));
  std::unordered_map<std::string, const Tensor*> by_name;
  for (const auto& [name, tensor] : given) by_name.emplace(name, &tensor);
  for (const auto& [name, tensor] : own) {
    Tensor to = tensor;
    to.copy_(*by_name.at(name));
  }
}

}  // namespace attune

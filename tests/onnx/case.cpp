#include "tests/onnx/case.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace attune::onnx {
namespace {

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path.string() + ": cannot be read; export.py writes it");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

template <class T>
Tensor copy(const std::string& blob, size_t offset, const Shape& shape) {
  std::vector<T> values(static_cast<size_t>(shape.numel()));
  if (offset + values.size() * sizeof(T) > blob.size()) throw std::runtime_error("cases.bin is too short");
  if (!values.empty()) std::memcpy(values.data(), blob.data() + offset, values.size() * sizeof(T));
  return Tensor::from(values, shape);
}

Tensor read_tensor(const nlohmann::json& entry, const std::string& blob) {
  if (entry.is_null()) return {};
  const auto extents = entry.at("shape").get<std::vector<int64_t>>();
  const Shape shape{std::span<const int64_t>(extents)};
  const auto dtype = entry.at("dtype").get<std::string>();
  const auto offset = entry.at("offset").get<size_t>();
  if (dtype == "float32" || dtype == "float16") return copy<float>(blob, offset, shape);
  if (dtype == "float64") return copy<double>(blob, offset, shape);
  if (dtype == "bfloat16") return copy<bfloat16>(blob, offset, shape);
  const Tensor integers = copy<int64_t>(blob, offset, shape);
  return dtype == "bool" ? integers.to(DType::kBool) : integers;
}

}  // namespace

std::vector<Case> read_cases(const std::filesystem::path& folder) {
  const auto manifest = nlohmann::json::parse(read(folder / "cases.json"));
  const std::string blob = read(folder / "cases.bin");
  std::vector<Case> cases;
  for (const auto& entry : manifest) {
    Case c{entry.at("name"), entry.at("op"), entry.at("attributes"), {}, {}};
    c.integers = true;
    for (const char* side : {"inputs", "outputs"}) {
      for (const auto& tensor : entry.at(side)) {
        (side[0] == 'i' ? c.inputs : c.outputs).push_back(read_tensor(tensor, blob));
        if (tensor.is_null()) continue;
        const auto dtype = tensor.at("dtype").get<std::string>();
        c.float16 |= dtype == "float16";
        c.integers &= dtype.find("float") == std::string::npos;
      }
    }
    cases.push_back(std::move(c));
  }
  return cases;
}

Variable channels_last(const Variable& x) {
  std::vector<int> axes{0};
  for (int axis = 2; axis < x.rank(); ++axis) axes.push_back(axis);
  if (x.rank() > 1) axes.push_back(1);
  return permute(x, axes);
}

Variable channels_second(const Variable& x) {
  std::vector<int> axes{0};
  if (x.rank() > 1) axes.push_back(x.rank() - 1);
  for (int axis = 1; axis + 1 < x.rank(); ++axis) axes.push_back(axis);
  return permute(x, axes);
}

}  // namespace attune::onnx

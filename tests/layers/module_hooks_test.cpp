#include <catch2/catch_test_macros.hpp>

#include <map>
#include <string>

#include "autograd/ops/ops.h"
#include "autograd/optim/sgd.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "layers/linear.h"
#include "layers/sequential.h"
#include "layers/transformer/transformer.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"
#include "tests/support/tensors.h"

using namespace attune;
using namespace attune::testing;

namespace {

struct Model : Module {
  Linear& first = child<Linear>("first", 3, 4);
  Linear* head = &child<Linear>("head", 4, 2);

  Variable operator()(const Variable& x) const { return result((*head)(relu(first(x)))); }
  void new_head(int64_t classes) { head = &replace_child<Linear>("head", 4, classes); }
  void replace_missing() { replace_child<Linear>("tail", 4, 2); }
};

Variable input() { return Variable(random_tensor({5, 3}, DType::kFloat32)); }

}  // namespace

TEST_CASE("forward hooks see every result in order and may stand for it", "[module][hooks]") {
  Model model;
  std::vector<std::string> seen;
  model.add_forward_hook([&](const Variable& y) {
    seen.push_back("model " + y.shape().to_string());
    return Variable();
  });
  const uint64_t doubling = model.first.add_forward_hook([&](const Variable& y) {
    seen.push_back("first " + y.shape().to_string());
    return y * 2;
  });
  model.first.add_forward_hook([&](const Variable& y) { return y + 1; });
  const Variable x = input();
  const Variable y = model(x);
  CHECK(seen == std::vector<std::string>{"first [5, 4]", "model [5, 2]"});
  model.first.remove_hook(doubling);
  const Variable undoubled = model(x);
  CHECK(seen.size() == 3);
  Model plain;
  plain.load_state_dict(model.state_dict());
  CHECK(same_values(y.value(), (*plain.head)(relu(plain.first(x) * 2 + 1)).value()));
  CHECK(same_values(undoubled.value(), (*plain.head)(relu(plain.first(x) + 1)).value()));
  Tape::current().clear();
}

TEST_CASE("gradient hooks see gradients of results and may stand for them", "[module][hooks]") {
  Model model;
  std::vector<Tensor> seen;
  model.first.add_gradient_hook([&](const Tensor& dy) {
    seen.push_back(dy.clone());
    return Tensor();
  });
  const auto gradient = [&] {
    model.zero_grad();
    sum(model(input())).backward();
    return model.first.weight().grad().clone();
  };
  const Tensor plain = gradient();
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].shape() == Shape{5, 4});
  const uint64_t zero = model.first.add_gradient_hook([](const Tensor& dy) { return Tensor::zeros_like(dy); });
  CHECK(all_zero(gradient()));
  model.first.remove_hook(zero);
  CHECK(same_values(gradient(), plain));
  const NoGrad inference;
  model(input());
  CHECK(seen.size() == 3);
}

TEST_CASE("a hook that throws names its module, and leaves the tape empty", "[module][hooks][errors]") {
  Model model;
  const uint64_t thrown =
      model.first.add_forward_hook([](const Variable&) -> Variable { throw std::runtime_error("no more disk"); });
  CHECK(error_text<Error>([&] { model(input()); }) == "first: a forward hook threw: no more disk");
  model.first.remove_hook(thrown);
  const uint64_t other = model.head->add_gradient_hook([](const Tensor&) -> Tensor { throw 7; });
  CHECK(error_text<Error>([&] { sum(model(input())).backward(); }) ==
        "head: a gradient hook threw what is no std::exception");
  CHECK(Tape::current().size() == 0);
  model.head->remove_hook(other);
  model.head->add_gradient_hook([](const Tensor&) { return Tensor::zeros({2, 2}); });
  CHECK(error_text<ShapeError>([&] { sum(model(input())).backward(); }) ==
        "head: a gradient hook returned float32 [2, 2] on cpu, expected float32 [5, 2] on cpu");
  CHECK(error_text<ValueError>([&] { model.head->remove_hook(77); }) == "head: there is no hook 77 to be removed");
  CHECK(error_text<ValueError>([&] { model.head->add_forward_hook({}); }) == "head: the forward hook is empty");
  CHECK_THROWS_AS(model.add_gradient_hook({}), ValueError);
}

TEST_CASE("a frozen module is left as it is by an optimizer, and trains again afterwards", "[module]") {
  Model model;
  Sgd optimizer(model.named_parameters(), {.learning_rate = 0.1});
  const Tensor before = model.first.weight().value().clone();
  const Tensor head_before = model.head->weight().value().clone();
  const auto step = [&] {
    sum(model(input())).backward();
    optimizer.step();
    optimizer.zero_grad();
  };
  sum(model(input())).backward();  // a gradient from before
  model.first.freeze();
  step();
  CHECK(same_values(model.first.weight().value(), before));
  CHECK_FALSE(same_values(model.head->weight().value(), head_before));
  CHECK(model.parameter_count() == 10);
  CHECK(model.first.training());
  model.first.unfreeze();
  step();
  CHECK_FALSE(same_values(model.first.weight().value(), before));
}

TEST_CASE("a child is replaced under its name and in its place", "[module]") {
  Model model;
  model.eval();
  model.new_head(7);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : model.state_dict()) names.push_back(name + tensor.shape().to_string());
  CHECK(names == std::vector<std::string>{"first.weight[4, 3]", "first.bias[4]", "head.weight[7, 4]", "head.bias[7]"});
  CHECK(model(input()).shape() == Shape{5, 7});
  CHECK(model.head->path() == "head");
  CHECK_FALSE(model.head->training());
  CHECK(error_text<ValueError>([&] { model.replace_missing(); }) ==
        "Module: there is no child 'tail' to be replaced, only 'first', 'head'");
  Tape::current().clear();
}

TEST_CASE("every layer of a Transformer gives its results to hooks, also where it is fused with others",
          "[module][hooks][transformer]") {
  for (const bool norm_first : {true, false}) {
    const TransformerOptions options{.encoder_blocks = 2,
                                     .decoder_blocks = 2,
                                     .block = {.dim = 8, .heads = 2, .ffn_dim = 16, .norm_first = norm_first}};
    Transformer model(options);
    Transformer plain(options);
    plain.load_state_dict(model.state_dict());
    plain.eval();
    model.eval();
    std::map<std::string, int> forward, backward;
    model.visit([&](const std::string& path, Module& module) {
      module.add_forward_hook([&forward, path](const Variable&) {
        ++forward[path];
        return Variable();
      });
      module.add_gradient_hook([&backward, path](const Tensor&) {
        ++backward[path];
        return Tensor();
      });
    });
    const Variable source(random_tensor({2, 5, 8}, DType::kFloat32));
    const Variable target(random_tensor({2, 4, 8}, DType::kFloat32));
    const Variable y = model(source, target);
    sum(square(y)).backward();
    model.visit([&](const std::string& path, Module&) {
      INFO(path << (norm_first ? ", norm first" : ", norm last"));
      // Attention to a memory takes parts of that weight.
      const int expected = path.ends_with("cross.qkv") ? 0 : 1;
      CHECK(forward[path] == expected);
      CHECK(backward[path] == expected);
    });
    CHECK(max_difference(y.value(), plain(source, target).value()) < 1e-5);
    Tape::current().clear();
  }
}

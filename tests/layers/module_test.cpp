#include "layers/module.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "autograd/ops/ops.h"
#include "framework/error.h"
#include "layers/linear.h"
#include "layers/norm.h"
#include "layers/transformer/encoder.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace attune;
using namespace attune::testing;
using Catch::Matchers::ContainsSubstring;

namespace {

struct Block : Module {
  Linear& first = child<Linear>("first", 3, 4);
  Linear& second = child<Linear>("second", 4, 3, LinearOptions{.bias = false});
  Variable gain = parameter("gain", Tensor::full({3}, 2));
  Variable count = buffer("count", Tensor::full({2}, 7));
  Variable table = constant(Tensor::full({5}, 9));
};

struct Model : Module {
  Block& block0 = child<Block>("block0");
  Block& block1 = child<Block>("block1");
  Variable tied = share("tied", block1.second.weight());
};

std::vector<std::string> names(const StateDict& state) {
  std::vector<std::string> out;
  for (const auto& [name, tensor] : state) out.push_back(name);
  return out;
}

StateDict copy_of(const Module& module) {
  StateDict state;
  for (const auto& [name, tensor] : module.state_dict()) state.emplace_back(name, tensor.clone());
  return state;
}

void rename(StateDict& state, const std::string& from, const std::string& to) {
  for (auto& [name, tensor] : state) {
    if (name == from) name = to;
  }
}

}  // namespace

TEST_CASE("a module's parameters have dotted names, own ones first", "[module]") {
  Block block;
  std::vector<std::string> found;
  for (const auto& [name, variable] : block.named_parameters()) found.push_back(name);
  CHECK(found == std::vector<std::string>{"gain", "first.weight", "first.bias", "second.weight"});
  CHECK(names(block.state_dict()) ==
        std::vector<std::string>{"gain", "count", "first.weight", "first.bias", "second.weight"});
  CHECK(block.parameter_count() == 3 + 12 + 4 + 12);
}

TEST_CASE("a shared parameter appears under each name and counts once", "[module]") {
  Model model;
  CHECK(names(model.state_dict()).front() == "tied");
  CHECK(model.parameters().size() == 8);
  CHECK(model.parameter_count() == 2 * (3 + 12 + 4 + 12));
  // The leaf is known by the first of its names, whatever the order of construction.
  CHECK(model.block1.second.weight().leaf()->name == "tied");
  CHECK(model.block0.second.weight().leaf()->name == "block0.second.weight");
}

TEST_CASE("frozen parameters are saved and not counted", "[module]") {
  Block block;
  Variable gain = block.gain;
  gain.set_requires_grad(false);
  CHECK(block.parameter_count() == 12 + 4 + 12);
  CHECK(names(block.state_dict()).size() == 5);
}

TEST_CASE("path and who name a module from its root", "[module]") {
  Model model;
  CHECK(model.path().empty());
  CHECK(model.block1.second.path() == "block1.second");
  CHECK(model.who("Model") == "Model");
  CHECK(model.block1.second.who("Linear") == "block1.second");

  std::vector<std::string> paths;
  model.visit([&](const std::string& path, Module&) { paths.push_back(path); });
  CHECK(paths == std::vector<std::string>{"", "block0", "block0.first", "block0.second", "block1", "block1.first",
                                          "block1.second"});
  paths.clear();
  model.block1.visit([&](const std::string& path, Module&) { paths.push_back(path); });
  CHECK(paths == std::vector<std::string>{"", "first", "second"});
}

TEST_CASE("train and eval reach all modules below, and no gradient", "[module]") {
  Model model;
  CHECK(model.training());
  model.eval();
  CHECK_FALSE(model.block1.second.training());
  CHECK(model.block1.second.weight().requires_grad());
  model.block1.train();
  CHECK(model.block1.second.training());
  CHECK_FALSE(model.training());
}

TEST_CASE("to converts parameters, buffers and constants behind every handle", "[module]") {
  Model model;
  const Variable weight = model.block0.first.weight();
  sum(weight).backward();  // leaves a gradient in the old dtype behind
  model.to(DType::kFloat64);
  CHECK(weight.dtype() == DType::kFloat64);
  CHECK(model.block0.count.dtype() == DType::kFloat64);
  CHECK(model.block0.table.dtype() == DType::kFloat64);
  CHECK(model.tied.dtype() == DType::kFloat64);
  CHECK_FALSE(weight.grad().defined());
  sum(weight).backward();
  CHECK(weight.grad().dtype() == DType::kFloat64);
  CHECK(error_text<DTypeError>([&] { model.to(DType::kInt64); }).find("int64") != std::string::npos);
}

TEST_CASE("buffers and constants get no gradient", "[module]") {
  Block block;
  CHECK_FALSE(block.count.requires_grad());
  CHECK_FALSE(block.table.requires_grad());
  CHECK(block.gain.requires_grad());
}

TEST_CASE("buffers of integers are saved and stay integers", "[module]") {
  struct Counter : Module {
    Variable steps = buffer("steps", Tensor::full({1}, 3, DType::kInt64));
  } counter, other;
  counter.to(DType::kFloat64);
  CHECK(counter.steps.dtype() == DType::kInt64);
  counter.steps.value();
  Tensor(counter.steps.value()).fill_(5);
  other.load_state_dict(counter.state_dict());
  CHECK(other.steps.item() == 5);
}

TEST_CASE("load_state_dict copies values and converts dtypes", "[module]") {
  Model from;
  Model into;
  from.to(DType::kFloat64);
  into.load_state_dict(from.state_dict());
  const auto a = from.state_dict();
  const auto b = into.state_dict();
  for (size_t i = 0; i < a.size(); ++i) {
    INFO(a[i].first);
    CHECK(b[i].second.dtype() == DType::kFloat32);
    CHECK(same_values(a[i].second, b[i].second));
  }
}

TEST_CASE("load_state_dict lists all that does not fit, and changes nothing", "[module][errors]") {
  Model model;
  const StateDict before = copy_of(model);
  StateDict state = copy_of(model);
  for (auto& [name, tensor] : state) tensor.fill_(1);
  rename(state, "block0.first.weight", "block0.frist.weight");
  rename(state, "block1.gain", "somewhere.else");
  for (auto& [name, tensor] : state) {
    if (name == "block1.first.bias") tensor = Tensor::zeros({4, 1});
    if (name == "block1.count") tensor = Tensor::zeros({2}, DType::kInt64);
  }
  const std::string text = error_text<ShapeError>([&] { model.load_state_dict(state); });
  CHECK(text.find("load_state_dict") == 0);
  CHECK(text.find("2 missing: block1.gain [3], ") == std::string::npos);  // order of declaration
  CHECK(text.find("2 missing: block0.first.weight [4, 3], block1.gain [3]") != std::string::npos);
  CHECK(text.find("2 unexpected: ") != std::string::npos);
  CHECK(text.find("block0.frist.weight [4, 3] (nearest: block0.first.weight [4, 3])") != std::string::npos);
  CHECK(text.find("somewhere.else [3] (nearest: ") != std::string::npos);
  CHECK(text.find("2 mismatched: block1.count: expected dtype float32, got int64, "
                  "block1.first.bias: expected shape [4], got [4, 1]") != std::string::npos);
  const StateDict after = model.state_dict();
  for (size_t i = 0; i < before.size(); ++i) CHECK(same_values(before[i].second, after[i].second));
}

TEST_CASE("different values for a shared parameter are refused", "[module][errors]") {
  Model model;
  StateDict state = copy_of(model);
  CHECK_NOTHROW(model.load_state_dict(state));
  const auto tied = std::find_if(state.begin(), state.end(), [](const auto& entry) { return entry.first == "tied"; });
  Tensor(tied->second).fill_(std::nan(""));
  const std::vector<double> before = values(model.tied.value());
  CHECK_THAT(error_text<ShapeError>([&] { model.load_state_dict(state); }),
             ContainsSubstring("1 contradictory: tied and block1.second.weight are one parameter, given two values"));
  CHECK(values(model.tied.value()) == before);
}

TEST_CASE("the nearest name prefers one that is missing", "[module][errors]") {
  struct Pair : Module {
    Variable a1 = parameter("a1", Tensor::zeros({1}));
    Variable a2 = parameter("a2", Tensor::zeros({1}));
  } pair;
  StateDict state = copy_of(pair);
  rename(state, "a2", "a3");
  CHECK(error_text<ShapeError>([&] { pair.load_state_dict(state); }).find("a3 [1] (nearest: a2 [1])") !=
        std::string::npos);
}

TEST_CASE("the nearest name is the fewest edits away", "[module][errors]") {
  Model model;
  StateDict state = copy_of(model);
  state.emplace_back("block1.first.weigth", Tensor::zeros({1}));
  state.emplace_back("blok1.gain", Tensor::zeros({1}));
  const std::string text = error_text<ShapeError>([&] { model.load_state_dict(state); });
  CHECK(text.find("block1.first.weigth [1] (nearest: block1.first.weight [4, 3])") != std::string::npos);
  CHECK(text.find("blok1.gain [1] (nearest: block1.gain [3])") != std::string::npos);
}

TEST_CASE("loading another model's state ends soon", "[module][errors]") {
  TransformerEncoder big({.blocks = 40, .block = {.dim = 8, .heads = 2, .ffn_dim = 8}});
  StateDict state;
  for (int i = 0; i < 2000; ++i) state.emplace_back("another.model.parameter" + std::to_string(i), Tensor::zeros({1}));
  const std::string text = error_text<ShapeError>([&] { big.load_state_dict(state); });
  CHECK(text.find("2000 unexpected") != std::string::npos);
  size_t suggestions = 0;
  for (size_t at = text.find("nearest"); at != std::string::npos; at = text.find("nearest", at + 1)) ++suggestions;
  CHECK(suggestions == 32);  // each costs a comparison with every name of the model
}

TEST_CASE("names of children and parameters are checked", "[module][errors]") {
  struct Bad : Module {
    explicit Bad(const std::string& name) {
      parameter("weight", Tensor::zeros({1}));
      parameter(name, Tensor::zeros({1}));
    }
  };
  CHECK(error_text<ValueError>([] { Bad bad("weight"); }).find("'weight' is used twice") != std::string::npos);
  CHECK(error_text<ValueError>([] { Bad bad("a.b"); }).find("'a.b'") != std::string::npos);
  CHECK(error_text<ValueError>([] { Bad bad("a/b"); }).find("'a/b'") != std::string::npos);
  CHECK(error_text<ValueError>([] { Bad bad(""); }).find("''") != std::string::npos);
  struct Twice : Module {
    Twice() {
      child<Linear>("x", 1, 1);
      parameter("x", Tensor::zeros({1}));
    }
  };
  CHECK_THROWS_AS(Twice(), ValueError);
  struct Nothing : Module {
    Nothing() { own("x", std::unique_ptr<Linear>()); }
  };
  CHECK_THROWS_AS(Nothing(), ValueError);
  struct NotAParameter : Module {
    NotAParameter() { share("x", Variable(Tensor::zeros({1}))); }
  };
  CHECK_THROWS_AS(NotAParameter(), ValueError);
}

TEST_CASE("zero_grad forgets every gradient below", "[module]") {
  Model model;
  sum(model.block0.first.weight()).backward();
  REQUIRE(model.block0.first.weight().grad().defined());
  model.zero_grad();
  CHECK_FALSE(model.block0.first.weight().grad().defined());
}

TEST_CASE("a clone of a state is left as it is, and what is tied stays one", "[module]") {
  Model model;
  const StateDict best = clone(model.state_dict());
  for (const auto& [name, tensor] : model.state_dict()) Tensor(tensor).fill_(3);
  std::set<const Storage*> storages;
  for (const auto& [name, tensor] : best) {
    CHECK_FALSE(values(tensor) == std::vector<double>(static_cast<size_t>(tensor.numel()), 3));
    storages.insert(tensor.storage().get());
  }
  CHECK(storages.size() + 1 == best.size());  // "tied" is block1.second.weight
}

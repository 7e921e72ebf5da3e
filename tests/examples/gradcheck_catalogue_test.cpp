// What attune-gradcheck knows: every attention, every layer; and that it notices what it must.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <typeinfo>

#include "examples/gradcheck/self_test.h"
#include "tests/support/attention_variants.h"
#include "tests/support/paths.h"

namespace attune::examples {
namespace {

/// The types of a module and all below it.
std::multiset<std::string> types_of(Module& module) {
  std::multiset<std::string> types;
  module.visit([&](const std::string&, Module& below) { types.insert(typeid(below).name()); });
  return types;
}

/// The same of the cases of every row, with the defaults and with up to two options away from them.
std::set<std::multiset<std::string>> catalogued() {
  std::set<std::multiset<std::string>> all;
  for (const LayerRow& row : catalogue()) {
    const Draw draw = random_draw(row, {}, 1);
    const auto vary = [&](const auto& self, const Options& options, size_t first, int more) -> void {
      all.insert(types_of(*row.make(options, draw).module));
      for (size_t i = first; i < row.options.size() && more > 0; ++i) {
        for (const OptionValue& choice : row.options[i].choices) {
          Options varied = options;
          varied.set(row.options[i].name, choice);
          self(self, varied, i + 1, more - 1);
        }
      }
    };
    vary(vary, Options(row.options), 0, 2);
  }
  return all;
}

TEST_CASE("the gradient checker knows every variant of attention", "[gradcheck]") {
  const auto known = catalogued();
  for (const testing::AttentionVariant& variant : testing::attention_variants()) {
    INFO(variant.name << " has no row in examples/gradcheck/catalogue_*.cpp");
    CHECK(known.contains(types_of(*variant.make(2))));
  }
}

/// Classes of layers/ that derive from Module, directly or not, by their bases.
std::map<std::string, std::string> declared_layers() {
  std::map<std::string, std::string> bases;
  const std::regex declaration(R"(\n(?:class|struct) (\w+) (?:final )?: public (\w+) )");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(ATTUNE_SOURCE_DIR "/layers")) {
    if (entry.path().extension() != ".h") continue;
    const std::string text = testing::read_bytes(entry.path().string());
    for (std::sregex_iterator at(text.begin(), text.end(), declaration), end; at != end; ++at) {
      bases[(*at)[1]] = (*at)[2];
    }
  }
  std::map<std::string, std::string> layers;
  for (const auto& [name, base] : bases) {
    std::string ancestor = base;
    while (bases.contains(ancestor)) ancestor = bases.at(ancestor);
    if (ancestor == "Module") layers[name] = base;
  }
  return layers;
}

TEST_CASE("the gradient checker knows every layer", "[gradcheck]") {
  const auto layers = declared_layers();
  REQUIRE(layers.size() > 40);
  std::set<std::string> bases;
  for (const auto& [name, base] : layers) bases.insert(base);
  std::string known;
  for (const auto& types : catalogued()) {
    for (const std::string& type : types) known += type + ' ';
  }
  for (const auto& [name, base] : layers) {
    INFO(name << " has no row in examples/gradcheck/catalogue_*.cpp");
    // As compilers write it; what others derive from is checked by them.
    CHECK((bases.contains(name) || known.find(std::to_string(name.size()) + name + "E") != std::string::npos));
  }
}

TEST_CASE("rows of the catalogue are whole", "[gradcheck]") {
  std::set<std::string> names;
  for (const LayerRow& row : catalogue()) {
    INFO(row.name);
    CHECK(names.insert(row.name).second);
    CHECK_FALSE(row.what.empty());
    for (const OptionRow& option : row.options) {
      CHECK_FALSE(option.choices.empty());
      CHECK(std::find(option.choices.begin(), option.choices.end(), option.initial) != option.choices.end());
    }
    for (const PlannedCase& planned : plan_cases(row, nullptr, 1, 0, 3)) {
      const CaseResult result = run_case(planned, {.max_elements = 6});
      INFO(result.options << ' ' << result.draw.to_string() << '\n' << result.report.to_string() << result.error);
      CHECK(result.ok());
      CHECK(code_of(planned).find("int main()") != std::string::npos);
    }
  }
}

TEST_CASE("within a limit of time every layer has its turn", "[gradcheck]") {
  std::vector<PlannedCase> cases;
  for (const char* name : {"Linear", "LayerNorm"}) {
    for (const PlannedCase& planned : plan_cases(find_row(name), nullptr, 4, 0, 3)) cases.push_back(planned);
  }
  REQUIRE(cases.size() == 10);
  int64_t told = 0;
  const auto count = [&](const CaseResult&, int64_t done) { told = done; };
  const std::vector<CaseResult> hurried = run_cases(cases, {}, 1e-9, count);
  REQUIRE(hurried.size() == 2);
  CHECK(hurried[0].layer == "Linear");
  CHECK(hurried[1].layer == "LayerNorm");
  CHECK(hurried[0].report.entries.at(0).checked == 1);
  CHECK(told == 2);
  const std::vector<CaseResult> all = run_cases(cases, {}, 0, count);
  REQUIRE(all.size() == 10);
  CHECK(all[4].layer == "Linear");
  CHECK(all[5].layer == "LayerNorm");
}

TEST_CASE("the gradient checker notices faults and raises no false alarm", "[gradcheck]") {
  REQUIRE(faults().size() >= 40);
  const SelfTestResult result = self_test(1, 100, [](int64_t, int64_t) {});
  INFO(text_report(result, false));
  CHECK(result.ok());
  CHECK(result.caught() == std::ssize(result.faults));
  CHECK(result.correct_cases == 100);
}

TEST_CASE("the self-test tells missed faults and false alarms", "[gradcheck]") {
  const Fault harmless{"none", "Linear", "{}", {}, "linear", [](FaultyStep& f) { f.step.run(); }};
  const Fault elsewhere{"elsewhere", "Linear", "{}", {}, "softmax", [](FaultyStep& f) { f.step.run(); }};
  SelfTestResult result;
  result.faults = {try_fault(harmless, 1), try_fault(elsewhere, 1), try_fault(find_fault("linear: sign of dx"), 1)};
  CHECK_FALSE(result.faults[0].caught);
  CHECK(result.faults[0].reached);
  CHECK_FALSE(result.faults[1].reached);
  CHECK(result.faults[2].caught);
  CHECK(result.faults[2].gradient == "x");
  CHECK(result.caught() == 1);
  CHECK_FALSE(result.ok());
  const std::string text = text_report(result, false);
  CHECK(text.find("MISSED, never reached") != std::string::npos);
  CHECK(text.find("1 of 3 faults caught (33.3 %)") != std::string::npos);
  result.faults.erase(result.faults.begin(), result.faults.begin() + 2);
  CHECK(result.ok());
  result.false_alarms.emplace_back();
  CHECK_FALSE(result.ok());
}

}  // namespace
}  // namespace attune::examples

#include "examples/support/settings.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <string>

#include "examples/support/program.h"
#include "examples/support/train_options.h"
#include "framework/error.h"

namespace attune::examples {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

struct Values {
  int64_t size = 3;
  uint64_t seed = 1;
  double rate = 0.5;
  bool on = false;
  std::string name = "a";

  bool operator==(const Values&) const = default;

  Settings settings() {
    return Settings("some-program", {{"model", "size", WholeSetting{&size, 1, 9}},
                                     {"run", "seed", SeedSetting{&seed}},
                                     {"model", "rate", NumberSetting{&rate, 0, 1}},
                                     {"model", "on", SwitchSetting{&on}},
                                     {"model", "name", TextSetting{&name, {"a", "b"}}}});
  }
};

TEST_CASE("settings come back from their JSON", "[support]") {
  Values values{.size = 9, .seed = ~uint64_t{0} >> 1, .rate = 0.1 + 0.2, .on = true, .name = "b"};
  Values copy;
  copy.settings().update_from_json(values.settings().to_json(), "file");
  CHECK(copy == values);
  copy.settings().update_from_json(R"({"model": {"size": 4}})", "file");
  CHECK(copy.size == 4);
  CHECK(copy.name == "b");
  CHECK_THAT(settings_help(values.settings(), "x"),
             ContainsSubstring("preset 'x'") && ContainsSubstring("model.size") && !ContainsSubstring("run.seed"));
}

TEST_CASE("what cannot be set changes nothing", "[support]") {
  Values values;
  const auto refused = [&](const std::string& json, const std::string& text) {
    CHECK_THROWS_MATCHES(values.settings().update_from_json(json, "file"), FormatError,
                         MessageMatches(ContainsSubstring("file: ") && ContainsSubstring(text)));
    CHECK(values == Values());
  };
  refused(R"({"model": {"size": 4, "rate": 1}})", "model.rate is 1, expected a number from 0 to below 1");
  refused(R"({"model": {"size": 4, "on": 1}})", "model.on is 1, expected true or false");
  refused(R"({"model": {"size": 4, "width": 1}})", "unknown setting 'model.width', expected one of model.size");
  refused(R"({"model": {"size": 10}})", "model.size is 10, expected a whole number from 1 to 9");
  refused(R"({"run": {"seed": -1}})", "run.seed is -1, expected a whole number of at least 0");
  refused(R"({"model": {"size": 4}, "program": "another"})", "made by program \"another\", expected some-program");
  refused(R"({"model": {"size": 4}, "program": 3})", "made by program 3, expected some-program");

  CHECK_THROWS_AS(values.settings().update_from_setting("model.name=c"), UsageError);
  CHECK(values == Values());
  values.settings().update_from_setting("model.name=b");
  values.settings().update_from_setting("model.rate=0.25");
  CHECK(values == Values{.rate = 0.25, .name = "b"});

  Values other = values;
  CHECK_NOTHROW(require_same_settings(values.settings(), other.settings(), "dir"));
  other.size = 5;
  CHECK_THROWS_MATCHES(require_same_settings(values.settings(), other.settings(), "dir"), UsageError,
                       MessageMatches(ContainsSubstring("model.size is 3 here but 5 in the run of dir")));
}

TEST_CASE("durations are seconds, minutes or hours", "[support]") {
  CHECK(parse_duration("90") == 90);
  CHECK(parse_duration("90s") == 90);
  CHECK(parse_duration("1.5m") == 90);
  CHECK(parse_duration("2h") == 7200);
  for (const char* wrong : {"", "s", "0", "-1s", "inf", "nan", "1d", "1 h", "1h30m"}) {
    INFO(wrong);
    CHECK_FALSE(parse_duration(wrong));
  }
}

}  // namespace
}  // namespace attune::examples

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "framework/checkpoint.h"
#include "framework/version.h"
#include "tests/support/paths.h"
#include "tests/support/process.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using Json = nlohmann::json;
using testing::Finished;
using testing::last_line;
using testing::run;
using testing::TemporaryDirectory;

constexpr const char* kProgram = "attune-checkpoint";

Checkpoint sample(double bias = 1) {
  Checkpoint checkpoint;
  const Tensor table = Tensor::full({4, 3}, 2);
  checkpoint.put_tensors("model",
                         {{"embedding.weight", table}, {"head.bias", Tensor::full({4}, bias)}, {"head.weight", table}});
  checkpoint.put_text("config", R"({"dim":3,"attention":{"heads":1}})");
  checkpoint.put_list("vocabulary", {"a", "bc"});
  return checkpoint;
}

/// One line of an error, nothing else.
void check_error(const Finished& finished, int status, const std::string& text) {
  CHECK(finished.status == status);
  CHECK_THAT(finished.err, ContainsSubstring(text));
  CHECK(finished.err.starts_with("error: "));
  CHECK(std::count(finished.err.begin(), finished.err.end(), '\n') == 1);
  CHECK(finished.out.empty());
}

TEST_CASE("attune-checkpoint ls shows what a file holds", "[program][checkpoint]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "last.h5";
  sample().save(path);
  const Finished shown = run(kProgram, {"ls", path});
  CHECK(shown.status == 0);
  CHECK(shown.err.empty());
  CHECK(shown.out == path + ": checkpoint format 2, written by Attune " + kVersion +
                         "\n\n"
                         "name                    dtype    shape   bytes\n"
                         "model/embedding/weight  float32  [4, 3]     48\n"
                         "model/head/bias         float32  [4]        16\n"
                         "model/head/weight       float32  [4, 3]     48  = model/embedding/weight\n"
                         "config                  text                33\n"
                         "vocabulary              text     [2]         3\n"
                         "\n"
                         "setting          value\n"
                         "attention.heads  1\n"
                         "dim              3\n"
                         "\n"
                         "model: 16 parameters, 64 B\n"
                         "sha256: " +
                         sample().sha256() + "\n");

  const Json json = Json::parse(last_line(run(kProgram, {"ls", "--json", path, path}).out));
  REQUIRE(json.at("files").size() == 2);
  const Json& file = json.at("files").at(1);
  CHECK(file.at("parameters") == 16);
  CHECK(file.at("config").at("attention").at("heads") == 1);
  CHECK(file.at("entries").at(2) ==
        Json::parse(R"({"name":"model/head/weight","dtype":"float32","shape":[4,3],"bytes":48,
                                              "same_as":"model/embedding/weight"})"));
}

TEST_CASE("attune-checkpoint shows whatever a configuration is", "[program][checkpoint]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "x.h5";
  const std::string deep(100000, '[');
  const std::pair<std::string, std::string> cases[] = {
      {"{}", "config   {}\n"},
      {"[1]", "config   [1]\n"},
      {"\x1b[31m", "config   \\x1b[31m\n"},
      {deep, "config   [[[["},
      {"{\"a\":" + deep + std::string(100000, ']') + "}", "config   {\"a\":[[[["},
      {R"({"a\u001b": {"b": []}})", "a\\x1b.b  null\n"},
      {std::string(2000000, 'x'), "config   xxxx"},
  };
  for (const auto& [text, line] : cases) {
    Checkpoint other;
    other.put_text("config", text);
    other.save(path);
    const Finished listed = run(kProgram, {"ls", path});
    CHECK(listed.status == 0);
    CHECK(listed.err.empty());
    CHECK_THAT(listed.out, ContainsSubstring(line));
    CHECK(listed.out.size() < 2000);
    CHECK(run(kProgram, {"ls", "--json", path}).status == 0);
    CHECK(Json::parse(last_line(run(kProgram, {"ls", "--json", path}).out)).at("files").size() == 1);
    sample().save(directory / "y.h5");
    CHECK(run(kProgram, {"diff", path, directory / "y.h5"}).status == 1);
  }
}

TEST_CASE("attune-checkpoint verify tells a whole file from a damaged one", "[program][checkpoint]") {
  const TemporaryDirectory directory;
  const std::string good = directory / "good.h5";
  sample().save(good);
  std::string bytes = testing::read_bytes(good);
  bytes[bytes.size() / 2] ^= 1;
  const std::string bad = directory.write("bad.h5", bytes);

  const Finished whole = run(kProgram, {"verify", good});
  CHECK(whole.status == 0);
  CHECK(whole.out == good + ": OK, 5 entries\n");
  check_error(run(kProgram, {"verify", bad}), 1, bad + ": damaged");
  check_error(run(kProgram, {"verify", directory / "missing.h5"}), 1, "No such file or directory");
  const Finished both = run(kProgram, {"verify", "--json", bad, good});
  CHECK(both.status == 1);
  const Json json = Json::parse(last_line(both.out));
  CHECK(json.at("ok") == false);
  CHECK(json.at("files").at(0).at("ok") == false);
  CHECK(json.at("files").at(1).at("ok") == true);
  CHECK(json.at("files").at(1).at("sha256") == sample().sha256());
}

TEST_CASE("attune-checkpoint diff names what differs and by how much", "[program][checkpoint]") {
  const TemporaryDirectory directory;
  const std::string a = directory / "a.h5";
  const std::string b = directory / "b.h5";
  sample().save(a);
  sample().save(b);
  const Finished same = run(kProgram, {"diff", a, b});
  CHECK(same.status == 0);
  CHECK(same.out == "equal\n");

  Checkpoint other;
  Tensor bias = Tensor::full({4}, 1);
  bias.data<float>()[2] = 1.25f;
  other.put_tensors("model", {{"embedding.weight", Tensor::full({3, 4}, 2)}, {"head.bias", bias}});
  other.put("extra", Tensor::full({1}, std::numeric_limits<double>::quiet_NaN()));
  other.put_text("config", R"({"dim":5,"attention":{"heads":1},"new":true})");
  other.put_list("vocabulary", {"a", "bd"});
  other.save(b);
  const Finished different = run(kProgram, {"diff", a, b});
  CHECK(different.status == 1);
  CHECK(different.err.empty());
  CHECK(different.out ==
        "setting  first    second\n"
        "dim      3        5\n"
        "new      missing  true\n"
        "\n"
        "only in the first: model/head/weight\n"
        "only in the second: extra\n"
        "name                    first           second          elements that differ  largest difference\n"
        "model/embedding/weight  float32 [4, 3]  float32 [3, 4]\n"
        "model/head/bias         float32 [4]     float32 [4]                        1                0.25\n"
        "vocabulary              list of 2       list of 2\n");

  const Json json = Json::parse(last_line(run(kProgram, {"diff", "--json", a, b}).out));
  CHECK(json.at("equal") == false);
  CHECK(json.at("config").at(0) == Json::parse(R"({"name":"dim","first":3,"second":5})"));
  CHECK(json.at("only_in_first") == Json::parse(R"(["model/head/weight"])"));
  CHECK(json.at("only_in_second") == Json::parse(R"(["extra"])"));
  CHECK(json.at("changed").at(1).at("max_abs_difference") == 0.25);
}

TEST_CASE("attune-checkpoint diff compares NaN, infinity and signed zero bit by bit", "[program][checkpoint]") {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const TemporaryDirectory directory;
  const auto largest = [&](double first, double second, double further = 0.5) -> std::string {
    const auto write = [&](const char* name, double value, double other) {
      Checkpoint checkpoint;
      checkpoint.put("x", Tensor::from<double>({value, other}, {2}));
      checkpoint.save(directory / name);
    };
    write("a.h5", first, 0.5);
    write("b.h5", second, further);
    const Finished finished = run(kProgram, {"diff", directory / "a.h5", directory / "b.h5"});
    CHECK(finished.status == (finished.out == "equal\n" ? 0 : 1));
    const std::string line = last_line(finished.out);
    return line.substr(line.rfind(' ') + 1);
  };
  CHECK(largest(kNan, kNan) == "equal");
  CHECK(largest(kInfinity, kInfinity) == "equal");
  CHECK(largest(kNan, kNan, 0.75) == "0.25");
  CHECK(largest(kInfinity, kInfinity, 0.75) == "0.25");
  CHECK(largest(kInfinity, 1) == "inf");
  CHECK(largest(kNan, 1) == "nan");
  CHECK(largest(0.0, -0.0) == "0");
}

TEST_CASE("attune-checkpoint answers wrong usage with one line and status 2", "[program][checkpoint]") {
  check_error(run(kProgram, {}), 2, "A subcommand is required");
  check_error(run(kProgram, {"--frobnicate"}), 2, "not known: --frobnicate");
  check_error(run(kProgram, {"list"}), 2, "not known: list");
  check_error(run(kProgram, {"ls"}), 2, "FILE is required");
  check_error(run(kProgram, {"ls", "a.h5", "--frobnicate"}), 2, "--frobnicate");
  check_error(run(kProgram, {"diff", "a.h5"}), 2, "FILE");
  check_error(run(kProgram, {"diff", "a.h5", "b.h5", "c.h5"}), 2, "FILE");
  check_error(run(kProgram, {"ls", "no\nsuch.h5"}), 1, "no\\nsuch.h5: cannot be read: No such file or directory");
  CHECK(run(kProgram, {"--version"}).out == std::string(kVersion) + "\n");
  CHECK(run(kProgram, {"diff", "--help"}).status == 0);
}

}  // namespace
}  // namespace attune

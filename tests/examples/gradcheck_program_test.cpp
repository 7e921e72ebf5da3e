#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "examples/gradcheck/run.h"
#include "framework/version.h"
#include "tests/support/devices.h"
#include "tests/support/paths.h"
#include "tests/support/process.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using Json = nlohmann::json;
using testing::EmulatedDevice;
using testing::Finished;
using testing::read_bytes;
using testing::run;
using testing::TemporaryDirectory;

constexpr const char* kProgram = "attune-gradcheck";
constexpr const char* kBrokenBias = "linear: bias gradient dropped";

/// One line of an error, nothing else.
void check_error(const std::vector<std::string>& arguments, int status, const std::string& text) {
  const Finished finished = run(kProgram, arguments);
  INFO(finished.err);
  CHECK(finished.status == status);
  CHECK_THAT(finished.err, ContainsSubstring(text));
  CHECK(finished.err.starts_with("error: "));
  CHECK(std::count(finished.err.begin(), finished.err.end(), '\n') == 1);
  CHECK(finished.out.empty());
}

bool compiles(const TemporaryDirectory& directory, const std::string& code) {
  const std::string source = directory.write("shown.cpp", code);
  const std::string command = std::string(ATTUNE_COMPILER) +
                              " -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I" ATTUNE_SOURCE_DIR " " + source;
  return std::system(command.c_str()) == 0;
}

/// The C++ in what was printed, from the line with the layer's name to the end of main().
std::string program_in(const std::string& text, const std::string& layer) {
  const size_t begin = text.find("// " + layer);
  const size_t end = text.find("\n}\n", begin);
  REQUIRE(end != std::string::npos);
  return text.substr(begin, end + 3 - begin);
}

TEST_CASE("attune-gradcheck lists layers with their options", "[program][gradcheck]") {
  const Finished listed = run(kProgram, {"--list"});
  CHECK(listed.status == 0);
  CHECK(listed.err.empty());
  for (const char* text : {"MultiHeadAttention ", "TransformerEncoder ", R"({"eps":1e-05,"bias":true})"}) {
    CHECK_THAT(listed.out, ContainsSubstring(text));
  }
}

TEST_CASE("attune-gradcheck checks a layer and reports in every form", "[program][gradcheck]") {
  const TemporaryDirectory directory;
  const Finished checked =
      run(kProgram, {"--layer", "LayerNorm", "--options", R"({"bias":false})", "--seed", "5", "--json",
                     directory / "a.json", "--junit", directory / "a.xml", "--html", directory / "a.html"});
  INFO(checked.out << checked.err);
  CHECK(checked.status == 0);
  CHECK_THAT(checked.out, ContainsSubstring("OK       LayerNorm") && ContainsSubstring("gradient of") &&
                              ContainsSubstring("seed 5"));
  CHECK(checked.out.find('\x1b') == std::string::npos);

  const Json json = Json::parse(read_bytes(directory / "a.json"));
  CHECK(json.at("ok") == true);
  CHECK(json.at("version") == kVersion);
  const Json& layer = json.at("layers").at(0);
  CHECK(layer.at("name") == "LayerNorm");
  CHECK(layer.at("cases").size() > 10);
  for (const Json& one : layer.at("cases")) {
    CHECK(one.at("options").at("bias") == false);
    REQUIRE(one.at("gradients").size() == 2);
    CHECK(one.at("gradients").at(1).at("name") == "x");
    CHECK(one.at("gradients").at(1).at("verdict") == "OK");
  }
  CHECK_THAT(read_bytes(directory / "a.xml"),
             ContainsSubstring("<testsuite name=\"LayerNorm\"") && ContainsSubstring("failures=\"0\" errors=\"0\""));
  const std::string html = read_bytes(directory / "a.html");
  CHECK(html.starts_with("<!doctype html>"));
  CHECK(html.find("http") == std::string::npos);  // works offline
  const size_t begin = html.find("id=\"data\">") + 10;
  const Json embedded = Json::parse(html.substr(begin, html.find("</script>", begin) - begin));
  CHECK(embedded.at("layers").at(0).at("cases").at(0).at("gradients").at(1).contains("heat"));

  const Finished again = run(kProgram, {"--layer", "LayerNorm", "--options", R"({"bias":false})", "--seed", "5"});
  // The table of layers and the last line tell the time that it took; what lies between them must be the same.
  const auto gradients = [](const std::string& out) {
    const size_t at = out.find("\nLayerNorm:");
    REQUIRE(at != std::string::npos);
    return out.substr(at, out.rfind(" on cpu") - at);
  };
  CHECK(gradients(again.out) == gradients(checked.out));
}

TEST_CASE("attune-gradcheck shrinks a failing case to a program that shows it", "[program][gradcheck][release]") {
  const TemporaryDirectory directory;
  const Finished failed = run(kProgram, {"--layer", "Linear", "--fault", kBrokenBias, "--json", directory / "a.json",
                                         "--junit", directory / "a.xml"});
  INFO(failed.out << failed.err);
  CHECK(failed.status == 1);
  CHECK_THAT(failed.out, ContainsSubstring("WRONG    Linear") && ContainsSubstring("WRONG bias [1]: 1 of 1 elements") &&
                             ContainsSubstring("worst at i=0") && ContainsSubstring("B=1 T=1 I=1 O=1"));
  CHECK_THAT(read_bytes(directory / "a.xml"), ContainsSubstring("<failure type=\"WRONG\""));
  CHECK(Json::parse(read_bytes(directory / "a.json")).at("ok") == false);
  CHECK(compiles(directory, program_in(failed.out, "Linear")));

  const Finished masked =
      run(kProgram, {"--layer", "ScaledDotProduct", "--fault", "attention: dk leaks to future keys"});
  CHECK(masked.status == 1);
  CHECK_THAT(masked.out, ContainsSubstring("must be exactly 0: masked keys"));
  CHECK(compiles(directory, program_in(masked.out, "ScaledDotProduct")));
}

TEST_CASE("the programs that show a failure compile for every layer", "[program][gradcheck][release]") {
  using namespace examples;
  // All in one file, which is read once: each main() in a namespace of its own.
  std::string all = "#include <attune.h>\n#include <cstdio>\n";
  int count = 0;
  for (const LayerRow& row : catalogue()) {
    for (const PlannedCase& planned : plan_cases(row, nullptr, 3, 0, 5)) {
      const std::string code = code_of(planned);
      const size_t begin = code.find("using namespace");
      REQUIRE(begin != std::string::npos);
      all += "namespace case" + std::to_string(count++) + " {\n" + code.substr(begin) + "}\n";
    }
  }
  CHECK(count > 300);
  const TemporaryDirectory directory;
  CHECK(compiles(directory, all));
}

TEST_CASE("attune-gradcheck judges float32 by float64", "[program][gradcheck]") {
  const Finished good = run(kProgram, {"--layer", "FeedForward", "--dtype", "float32"});
  INFO(good.out);
  CHECK(good.status == 0);
  CHECK_THAT(good.out, ContainsSubstring("float32 on cpu"));
}

TEST_CASE("attune-gradcheck judges bfloat16 by float64", "[program][gradcheck]") {
  const Finished good = run(kProgram, {"--layer", "MultiHeadAttention", "--dtype", "bfloat16"});
  INFO(good.out);
  CHECK(good.status == 0);
}

// Every layer takes bfloat16 beside its float32 parameters, and hands no kernel a mix that CUDA's would not take.
TEST_CASE("attune-gradcheck judges mixed precision by float64", "[program][gradcheck]") {
  const EmulatedDevice emulated;
  for (const char* device : {"cpu", "cuda"}) {
    // A seed without a case in which bfloat16 is too coarse to tell (NOISE): about one in two thousand is such.
    const Finished good =
        run(kProgram, {"--all", "--dtype", "mixed", "--device", device, "--seconds", "0.5", "--seed", "2"});
    INFO(good.out << good.err);
    CHECK(good.status == 0);
  }
}

TEST_CASE("attune-gradcheck stays within its time", "[program][gradcheck]") {
  const Finished checked = run(kProgram, {"--layer", "TransformerEncoder", "--seconds", "0.5"});
  CHECK(checked.status == 0);
}

TEST_CASE("attune-gradcheck answers bad input with one line", "[program][gradcheck]") {
  const TemporaryDirectory directory;
  check_error({}, 2, "one of --list, --all, --layer and --self-test is expected");
  check_error({"--all", "--list"}, 2, "one of --list");
  check_error({"--layer", "MultiHeadAtention"}, 2, "the nearest is 'MultiHeadAttention'");
  check_error({"--layer", "Linear", "--options", R"({"bais":true})"}, 2,
              "unknown option 'bais', the nearest is 'bias'");
  check_error({"--layer", "Linear", "--options", "{"}, 2, "is not a JSON object");
  check_error({"--layer", "Linear", "--options", "[1]"}, 2, "is not a JSON object");
  check_error({"--layer", "Linear", "--options", R"({"bias":1})"}, 2, "bias is 1, expected true or false");
  check_error({"--layer", "Linear", "--options", R"({"activation":"gulu"})"}, 2, "expected one of none, relu");
  check_error({"--layer", "Dropout", "--options", R"({"p":"x"})"}, 2, "p is \"x\", expected a number");
  check_error({"--all", "--options", "{}"}, 2, "--options needs --layer");
  check_error({"--all", "--seconds", "0"}, 2, "--seconds");
  check_error({"--all", "--seconds", "-3"}, 2, "--seconds");
  check_error({"--all", "--dtype", "float16"}, 2, "--dtype");
  check_error({"--all", "--device", "tpu"}, 2, "--device");
  check_error({"--all", "--fault", "linear: bias gradient droped"}, 2, kBrokenBias);
  check_error({"--layer", "Linear", "--dtype", "float32", "--fault", kBrokenBias}, 2, "--fault needs");
  check_error({"--layer", "ImageAttention", "--options", R"({"kind":"hard"})", "--dtype", "float32"}, 2,
              "makes choices");
  check_error({"--self-test", "--html", "a.html"}, 2, "--self-test");
  check_error({"--frobnicate"}, 2, "--frobnicate");
  check_error({"--layer", "Linear", "--json", directory / "none/a.json"}, 1, "No such file or directory");
  check_error({"--layer", "Linear", "--html", directory.path().string()}, 1, "Is a directory");
}

}  // namespace
}  // namespace attune

// What the README shows is what is there.

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "layers/attention/registry.h"
#include "tests/support/paths.h"
#include "tests/support/process.h"

namespace {

namespace fs = std::filesystem;
using attune::testing::read_bytes;

const fs::path kRoot = ATTUNE_SOURCE_DIR;

/// Code that the README quotes: a comment <!-- FILE --> or <!-- FILE, all of it -->, then a fenced block.
struct Quote {
  std::string file;
  bool whole;
  std::string code;
};

std::vector<Quote> quotes() {
  static const std::regex kComment("^( *)<!-- ([^, ]+)(, all of it)? -->$");
  std::vector<Quote> found;
  std::istringstream in(read_bytes(kRoot / "README.md"));
  for (std::string line; std::getline(in, line);) {
    std::smatch match;
    if (!std::regex_match(line, match, kComment)) continue;
    Quote quote{match[2], match[3].matched, ""};
    const auto indent = static_cast<size_t>(match[1].length());
    std::getline(in, line);
    REQUIRE(line.find("```") == indent);
    while (std::getline(in, line) && line.find("```") != indent) {
      quote.code += (line.empty() ? line : line.substr(indent)) + "\n";
    }
    found.push_back(quote);
  }
  return found;
}

}  // namespace

TEST_CASE("code in the README is that of the files it names", "[house]") {
  const std::vector<Quote> all = quotes();
  REQUIRE(all.size() == 5);
  for (const Quote& quote : all) {
    INFO(quote.file << " no longer holds\n" << quote.code);
    const std::string text = read_bytes(kRoot / quote.file);
    CHECK_FALSE(quote.code.empty());
    CHECK((quote.whole ? text == quote.code : text.find(quote.code) != std::string::npos));
  }
}

TEST_CASE("the README's table of attentions is the registry", "[house]") {
  const std::string text = read_bytes(kRoot / "README.md");
  for (const attune::RegisteredAttention& row : attune::registered_attentions()) {
    if (row.paper == "a test") continue;
    const std::string line = "\n| `" + row.name + "` | " + row.what + " | " + row.paper + " |\n";
    INFO(line);
    CHECK(text.find(line) != std::string::npos);
  }
}

TEST_CASE("links in the READMEs lead somewhere", "[house]") {
  static const std::regex kLink(R"(\]\(([^)#: ]+)\))");
  std::vector<fs::path> pages = {kRoot / "README.md"};
  for (const char* folder : {"examples", "docs"}) {
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
      if (entry.path().extension() == ".md") pages.push_back(entry.path());
    }
  }
  std::vector<std::string> dead;
  for (const fs::path& page : pages) {
    const std::string text = read_bytes(page);
    for (std::sregex_iterator link(text.begin(), text.end(), kLink), end; link != end; ++link) {
      if (!fs::exists(page.parent_path() / (*link)[1].str())) dead.push_back(page.string() + ": " + (*link)[1].str());
    }
  }
  CHECK(dead == std::vector<std::string>{});
}

TEST_CASE("an attention of one's own is right and learns its task", "[house][release]") {
  const attune::testing::Finished program = attune::testing::run("own_attention", {});
  INFO(program.out << program.err);
  REQUIRE(program.status == 0);
  const size_t last = program.out.rfind("loss ");
  REQUIRE(last != std::string::npos);
  CHECK(std::stod(program.out.substr(last + 5)) < 0.05);
}

TEST_CASE("an optimizer of one's own learns its task", "[house][release]") {
  const attune::testing::Finished program = attune::testing::run("custom_optimizer", {});
  INFO(program.out << program.err);
  REQUIRE(program.status == 0);
  const size_t last = program.out.rfind("loss ");
  REQUIRE(last != std::string::npos);
  CHECK(std::stod(program.out.substr(last + 5)) < 0.01);
}

TEST_CASE("the quickstart learns its task", "[house][release]") {
  const attune::testing::Finished quickstart = attune::testing::run("quickstart", {});
  INFO(quickstart.out << quickstart.err);
  REQUIRE(quickstart.status == 0);
  const size_t last = quickstart.out.rfind("accuracy ");
  REQUIRE(last != std::string::npos);
  CHECK(std::stod(quickstart.out.substr(last + 9)) > 0.97);
}

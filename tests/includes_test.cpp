// The rooms of the house: who may include whom, and what <attune.h> offers.

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

namespace fs = std::filesystem;

const fs::path kRoot = ATTUNE_SOURCE_DIR;

/// What each room may include besides itself. tests/ and examples/ see all.
const std::vector<std::pair<std::string, std::set<std::string>>> kRooms = {
    {"framework", {}},
    {"autograd", {"framework"}},
    {"layers", {"autograd", "framework"}},
    {"datasets", {"framework"}},
};

struct Include {
  int line;
  bool quoted;
  std::string path;
};

std::vector<Include> includes_of(const fs::path& file) {
  std::vector<Include> found;
  std::ifstream in(file);
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    const size_t hash = line.find_first_not_of(" \t");
    if (hash == std::string::npos || line[hash] != '#') continue;
    const size_t word = line.find_first_not_of(" \t", hash + 1);
    if (word == std::string::npos || line.compare(word, 7, "include") != 0) continue;
    const size_t open = line.find_first_of("\"<", word);
    if (open == std::string::npos) continue;
    const size_t close = line.find_first_of("\">", open + 1);
    found.push_back({number, line[open] == '"', line.substr(open + 1, close - open - 1)});
  }
  return found;
}

std::vector<fs::path> sources_below(const fs::path& folder) {
  static constexpr std::array<std::string_view, 4> kEndings = {".h", ".cpp", ".cu", ".cuh"};
  std::vector<fs::path> files;
  if (!fs::exists(folder)) return files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string ending = entry.path().extension().string();
    if (std::find(kEndings.begin(), kEndings.end(), ending) != kEndings.end()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

TEST_CASE("no include points upward", "[house]") {
  std::vector<std::string> wrong;
  for (const auto& [room, below] : kRooms) {
    for (const fs::path& file : sources_below(kRoot / room)) {
      for (const Include& include : includes_of(file)) {
        const std::string first = *fs::path(include.path).begin();
        const bool ours = include.quoted || fs::exists(kRoot / include.path);
        if (ours && first != room && !below.contains(first)) {
          wrong.push_back(fs::relative(file, kRoot).string() + ":" + std::to_string(include.line) + " includes " +
                          include.path + "; " + room + "/ must not know it");
        }
      }
    }
  }
  CHECK(wrong == std::vector<std::string>{});
}

TEST_CASE("includes inside the tree name the path from its root", "[house]") {
  std::vector<std::string> wrong;
  for (const char* room : {"framework", "autograd", "layers", "datasets", "examples", "tests"}) {
    for (const fs::path& file : sources_below(kRoot / room)) {
      for (const Include& include : includes_of(file)) {
        if (include.quoted && !fs::exists(kRoot / include.path)) {
          wrong.push_back(fs::relative(file, kRoot).string() + ":" + std::to_string(include.line) + " includes \"" +
                          include.path + "\"");
        }
      }
    }
  }
  CHECK(wrong == std::vector<std::string>{});
}

TEST_CASE("<attune.h> includes every public header", "[house]") {
  std::set<std::string> offered;
  for (const Include& include : includes_of(kRoot / "attune.h")) offered.insert(include.path);
  std::set<std::string> installed;
  std::ifstream list(fs::path(ATTUNE_BINARY_DIR) / "public_headers.txt");
  for (std::string line; std::getline(list, line);) installed.insert(line);
  REQUIRE(installed.size() > 5);
  CHECK(offered == installed);
}

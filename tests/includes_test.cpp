// The rooms of the house: who may include whom, and what <attune.h> offers.

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
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

/// Headers that are the library's own matter: helpers, and what pulls in a dependency. Never installed.
bool is_private(std::string_view header) {
  static const std::set<std::string, std::less<>> kPrivate = {
      "autograd/ops/checks.h",
      "autograd/ops/recurrent_checks.h",
      "autograd/ops/unary.h",
      "autograd/tape_hook.h",
      "autograd/tape_internal.h",
      "datasets/batch_source.h",
      "datasets/bilingual_lexicon.h",
      "datasets/caption_formats.h",
      "datasets/image_codecs.h",
      "datasets/orientation.h",
      "datasets/subword_model.h",
      "datasets/subwords.h",
      "datasets/hash.h",
      "datasets/rewrite.h",
      "datasets/prefetcher.h",
      "datasets/reviews_grammar.h",
      "datasets/utf8.h",
      "framework/allocation_limit.h",
      "framework/atomic_file.h",
      "framework/caching_allocator.h",
      "framework/cuda_plugin.h",
      "framework/step_capture.h",
      "datasets/scores/ngrams.h",
      "datasets/scores/sentences.h",
      "datasets/unicode.h",
      "framework/edit_distance.h",
      "framework/fail.h",
      "framework/hdf5_image.h",
      "framework/hdf5_handle.h",
      "framework/checkpoint_format.h",
      "framework/child_process.h",
      "framework/json_text.h",
      "framework/text.h",
      "framework/sha256.h",
      "layers/attention/heads.h",
      "layers/module_observer.h",
      "layers/orthogonal.h",
      "layers/seq2seq/parts.h",
      "layers/decoding/stepper.h",
      "layers/transformer/parts.h",
  };
  return header.find("/detail/") != std::string_view::npos || header.starts_with("framework/kernels/cpu/") ||
         header.starts_with("framework/kernels/cuda/") || header.starts_with("autograd/gradcheck/") ||
         kPrivate.contains(header);
}

/// What can be computed, for those who write ops: installed, but not part of <attune.h>.
bool is_kernel_declaration(std::string_view header) {
  return header.starts_with("framework/kernels/") && !is_private(header);
}

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

// They compute in Tensors and Variables, as everybody who uses the library does.
TEST_CASE("layers and programs call no kernels", "[house]") {
  std::vector<std::string> wrong;
  for (const char* room : {"layers", "examples"}) {
    for (const fs::path& file : sources_below(kRoot / room)) {
      if (file.stem() == "custom_op") continue;  // has kernels of its own
      for (const Include& include : includes_of(file)) {
        if (include.path.starts_with("framework/kernels/")) {
          wrong.push_back(fs::relative(file, kRoot).string() + ":" + std::to_string(include.line) + " includes " +
                          include.path);
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

TEST_CASE("every header of the library is in <attune.h> or known to be private", "[house]") {
  std::set<std::string> offered;
  for (const Include& include : includes_of(kRoot / "attune.h")) offered.insert(include.path);
  REQUIRE(offered.size() > 5);
  std::vector<std::string> wrong;
  for (const auto& [room, below] : kRooms) {
    for (const fs::path& file : sources_below(kRoot / room)) {
      const std::string name = fs::relative(file, kRoot).string();
      if (file.extension() != ".h" || is_kernel_declaration(name)) continue;
      if (offered.contains(name) == !is_private(name)) continue;
      wrong.push_back(name +
                      (offered.contains(name) ? " is private and in attune.h" : " is public and not in attune.h"));
    }
  }
  CHECK(wrong == std::vector<std::string>{});
}

TEST_CASE("public headers include no private ones and no dependency", "[house]") {
  std::vector<std::string> wrong;
  std::vector<Include> installed = includes_of(kRoot / "attune.h");
  for (const fs::path& file : sources_below(kRoot / "framework/kernels")) {
    const std::string name = fs::relative(file, kRoot).string();
    if (is_kernel_declaration(name) && file.extension() == ".h") installed.push_back({0, true, name});
  }
  for (const Include& header : installed) {
    for (const Include& include : includes_of(kRoot / header.path)) {
      // <iostream>, <regex> and the like would not fit into the 1.5 s that <attune.h> may take to compile.
      const bool heavy = !include.quoted && (include.path.find('.') != std::string::npos ||
                                             include.path == "iostream" || include.path == "regex");
      if (heavy || (include.quoted && is_private(include.path))) {
        wrong.push_back(header.path + ":" + std::to_string(include.line) + " includes " + include.path);
      }
    }
  }
  CHECK(wrong == std::vector<std::string>{});
}

TEST_CASE("the sources that the fuzz targets instrument are there", "[house]") {
  std::ifstream file(kRoot / "tests/CMakeLists.txt");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  text.erase(0, text.find("if(ATTUNE_FUZZ)"));
  int sources = 0;
  constexpr std::string_view kPath = "abcdefghijklmnopqrstuvwxyz0123456789_/";
  for (size_t end = text.find(".cpp"); end != std::string::npos; end = text.find(".cpp", end + 1)) {
    const size_t begin = text.find_last_not_of(kPath, end - 1) + 1;
    const std::string path = text.substr(begin, end - begin) + ".cpp";
    if (path.find('/') == std::string::npos || text[begin - 1] == '}') continue;
    INFO(path);
    CHECK(fs::exists(kRoot / path));
    ++sources;
  }
  CHECK(sources > 30);
}

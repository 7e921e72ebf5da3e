#include "tests/support/paths.h"

#include <catch2/catch_test_macros.hpp>
#include <zlib.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>

namespace attune::testing {
namespace {

namespace fs = std::filesystem;

std::string path_from_environment(const char* variable, std::string_view name) {
  const char* root = std::getenv(variable);
  if (root == nullptr || *root == '\0') SKIP(variable << " is not set: it names the folder that holds " << name);
  const fs::path path = fs::path(root) / name;
  std::error_code error;
  if (!fs::exists(path, error)) SKIP(path.string() << " is not there (" << variable << "=" << root << ")");
  return path.string();
}

}  // namespace

std::string program_path(std::string_view name) { return fs::read_symlink("/proc/self/exe").replace_filename(name); }

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = (fs::temp_directory_path() / "attune-test-XXXXXX").string();
  REQUIRE(mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string TemporaryDirectory::write(std::string_view name, std::string_view bytes) const {
  const fs::path path = path_ / name;
  fs::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  REQUIRE(file.good());
  return path.string();
}

std::string TemporaryDirectory::write_gzip(std::string_view name, std::string_view bytes) const {
  const fs::path path = path_ / name;
  fs::create_directories(path.parent_path());
  gzFile file = gzopen(path.c_str(), "wb");
  REQUIRE(file != nullptr);
  REQUIRE(gzfwrite(bytes.data(), 1, bytes.size(), file) == bytes.size());
  REQUIRE(gzclose(file) == Z_OK);
  return path.string();
}

std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string data_path(std::string_view name) { return path_from_environment("ATTUNE_DATA", name); }

std::string golden_path(std::string_view name) { return path_from_environment("ATTUNE_GOLDEN", name); }

}  // namespace attune::testing

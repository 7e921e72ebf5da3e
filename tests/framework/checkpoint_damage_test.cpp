#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "framework/checkpoint.h"
#include "framework/checkpoint_format.h"
#include "framework/error.h"
#include "framework/hdf5_image.h"
#include "framework/sha256.h"
#include "framework/version.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using testing::error_text;
using testing::read_bytes;
using testing::TemporaryDirectory;

std::string small_checkpoint(const TemporaryDirectory& directory) {
  Checkpoint checkpoint;
  checkpoint.put_tensors("model", {{"layer.weight", Tensor::full({4, 5}, 0.5)}, {"layer.bias", Tensor::zeros({5})}});
  checkpoint.put_text("config", R"({"dim":5})");
  checkpoint.put_list("vocabulary", {"a", "b"});
  const std::string path = directory / "good.h5";
  checkpoint.save(path);
  return path;
}

/// The message of a file that must not load; it names the file.
template <class E = FormatError>
std::string refusal(const std::string& path) {
  const std::string text = error_text<E>([&] { Checkpoint::load(path); });
  CHECK_THAT(text, StartsWith(path + ": "));
  return text;
}

TEST_CASE("a checkpoint that was cut anywhere is refused", "[checkpoint]") {
  const TemporaryDirectory directory;
  const std::string good = read_bytes(small_checkpoint(directory));
  for (size_t length = 0; length < good.size(); length += length < 600 ? 5 : 97) {
    INFO("cut to " << length << " of " << good.size());
    const std::string text = refusal(directory.write("cut.h5", good.substr(0, length)));
    if (length > 30) CHECK_THAT(text, ContainsSubstring("cut off"));
  }
  CHECK_THAT(refusal(directory.write("cut.h5", good.substr(0, 1000))),
             ContainsSubstring("1000 bytes are there, expected " + std::to_string(good.size())));
  CHECK_THAT(refusal(directory.write("long.h5", good + '\0')), ContainsSubstring("something was appended"));
}

TEST_CASE("a checkpoint with a single flipped bit anywhere is refused", "[checkpoint]") {
  const TemporaryDirectory directory;
  const std::string good = read_bytes(small_checkpoint(directory));
  for (size_t at = 0; at < good.size(); at += at < 600 ? 3 : 41) {
    INFO("bit " << at % 8 << " of byte " << at);
    std::string damaged = good;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
    const std::string text = refusal(directory.write("flipped.h5", damaged));
    if (at >= checkpoint_format::kHeaderBytes) CHECK_THAT(text, ContainsSubstring("do not match their SHA-256"));
  }
}

TEST_CASE("files that are no checkpoints say what they are", "[checkpoint]") {
  const TemporaryDirectory directory;
  CHECK_THAT(refusal(directory.write("empty.h5", "")), ContainsSubstring("the file is empty"));
  CHECK_THAT(refusal(directory.write("image.h5", "\x89PNG\r\n\x1a\n....")),
             ContainsSubstring("not an Attune checkpoint: it begins with '\\x89PNG\\x0d\\x0a\\x1a\\x0a'"));
  CHECK_THAT(refusal(directory.write("other.h5", "\x89HDF\r\n\x1a\n....")),
             ContainsSubstring("an HDF5 file, but not an Attune checkpoint"));
  std::string newer = read_bytes(small_checkpoint(directory));
  newer.replace(newer.find("format 2"), 8, "format 7");
  CHECK_THAT(refusal(directory.write("newer.h5", newer)), ContainsSubstring("checkpoint format 7 is newer than 2"));

  const auto unreadable = [](const std::string& path) { return error_text<IoError>([&] { Checkpoint::load(path); }); };
  CHECK(unreadable(directory / "missing.h5") ==
        directory / "missing.h5" + ": cannot be read: No such file or directory");
  CHECK(unreadable(directory.path()) == directory.path().string() + ": cannot be read: is a directory");
  REQUIRE(mkfifo((directory / "pipe").c_str(), 0600) == 0);
  CHECK(unreadable(directory / "pipe") == directory / "pipe" + ": cannot be read: not a regular file");
}

/// The superuser may read everything: while this lives he is nobody.
class Unprivileged {
 public:
  Unprivileged() {
    if (geteuid() == 0) REQUIRE(seteuid(65534) == 0);
  }
  Unprivileged(const Unprivileged&) = delete;
  Unprivileged& operator=(const Unprivileged&) = delete;
  ~Unprivileged() {
    if (getuid() == 0) CHECK(seteuid(0) == 0);
  }
};

TEST_CASE("a checkpoint without permission to read or to write is refused", "[checkpoint]") {
  const TemporaryDirectory directory;
  const std::string path = small_checkpoint(directory);
  REQUIRE(chmod(path.c_str(), 0) == 0);
  REQUIRE(chmod(directory.path().c_str(), 0555) == 0);
  {
    const Unprivileged nobody;
    CHECK(error_text<IoError>([&] { Checkpoint::load(path); }) == path + ": cannot be read: Permission denied");
    CHECK(error_text<IoError>([&] { Checkpoint().save(path); }) == path + ": cannot be written: Permission denied");
  }
  REQUIRE(chmod(directory.path().c_str(), 0755) == 0);
}

// Files whose bytes match their SHA-256, yet whose content was not written by this library.

void set_text_attribute(hid_t owner, const char* name, const std::string& value) {
  const auto type = hdf5::text_type("test", value.size());
  const auto space = ATTUNE_HDF5_OPEN(Space, "test", H5Screate, H5S_SCALAR);
  const auto attribute =
      ATTUNE_HDF5_OPEN(Attribute, "test", H5Acreate2, owner, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  ATTUNE_HDF5("test", H5Awrite, attribute, type, value.data());
}

void set_shape_attribute(hid_t owner, std::vector<int64_t> shape, hid_t type = H5T_NATIVE_INT64) {
  const hsize_t rank = shape.size();
  const auto space = ATTUNE_HDF5_OPEN(Space, "test", H5Screate_simple, 1, &rank, nullptr);
  const auto attribute =
      ATTUNE_HDF5_OPEN(Attribute, "test", H5Acreate2, owner, "shape", type, space, H5P_DEFAULT, H5P_DEFAULT);
  shape.push_back(0);
  ATTUNE_HDF5("test", H5Awrite, attribute, H5T_NATIVE_INT64, shape.data());
}

/// A chunked dataset "x" without elements written.
hdf5::Dataset make_dataset(hid_t file, hid_t type, std::vector<hsize_t> dims) {
  const auto space =
      ATTUNE_HDF5_OPEN(Space, "test", H5Screate_simple, static_cast<int>(dims.size()), dims.data(), nullptr);
  const auto creation = ATTUNE_HDF5_OPEN(Properties, "test", H5Pcreate, H5P_DATASET_CREATE);
  for (auto& dim : dims) dim = 1;
  ATTUNE_HDF5("test", H5Pset_chunk, creation, static_cast<int>(dims.size()), dims.data());
  return ATTUNE_HDF5_OPEN(Dataset, "test", H5Dcreate2, file, "x", type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
}

/// HDF5's bytes behind a header with the digest that they have.
std::string with_header(const std::string& content, int version = Checkpoint::kFormatVersion) {
  Sha256 digest;
  digest.update(content);
  return checkpoint_format::header(content.size(), digest.finish(), version) + content;
}

template <class E = FormatError>
std::string refusal_of(const std::function<void(hid_t)>& fill) {
  const TemporaryDirectory directory;
  const hdf5::Image image("test", checkpoint_format::kHeaderBytes, 1 << 16, [&](hid_t file) {
    set_text_attribute(file, "library_version", kVersion);
    fill(file);
  });
  const std::string path = directory.write("crafted.h5", with_header(std::string(image.content())));
  return refusal<E>(path).substr(path.size() + 2);
}

TEST_CASE("a checkpoint whose bytes are whole and whose content is not is refused", "[checkpoint]") {
  CHECK(refusal_of([](hid_t) {}) == "the attribute 'sha256' is missing");
  CHECK_THAT(refusal_of([](hid_t file) { set_text_attribute(file, "sha256", "0123"); }),
             StartsWith("its content has the SHA-256 e3b0c44298fc1c14") && ContainsSubstring("expected 0123"));
  CHECK(refusal_of([](hid_t file) { make_dataset(file, H5T_IEEE_F32LE, {2}); }) ==
        "'x': the attribute 'dtype' is missing");
  CHECK(refusal_of([](hid_t file) {
          const auto set = make_dataset(file, H5T_IEEE_F32LE, {2});
          set_shape_attribute(set, {2});
          const auto space = ATTUNE_HDF5_OPEN(Space, "test", H5Screate, H5S_SCALAR);
          ATTUNE_HDF5_OPEN(Attribute, "test", H5Acreate2, set, "dtype", H5T_NATIVE_INT, space, H5P_DEFAULT,
                           H5P_DEFAULT);
        }) == "'x': the attribute 'dtype' is not a text");

  const auto with = [](hid_t type, const std::vector<hsize_t>& dims, const char* dtype,
                       const std::vector<int64_t>& shape, hid_t shape_type = H5T_NATIVE_INT64) {
    return refusal_of([&](hid_t file) {
      const auto set = make_dataset(file, type, dims);
      set_text_attribute(set, "dtype", dtype);
      set_shape_attribute(set, shape, shape_type);
    });
  };
  CHECK_THAT(with(H5T_IEEE_F32LE, {2}, "float16", {2}), StartsWith("'x': dtype 'float16' is unknown"));
  CHECK(with(H5T_IEEE_F64LE, {2}, "float32", {2}) ==
        "'x': its elements are not those of its attribute 'dtype', float32");
  CHECK(with(H5T_IEEE_F32LE, {2}, "float32", {3}) == "'x': is stored as [2], its attribute 'shape' says [3]");
  CHECK(with(H5T_IEEE_F32LE, {2}, "float32", {}) == "'x': is stored as [2], its attribute 'shape' says []");
  CHECK(with(H5T_IEEE_F32LE, {2}, "float32", {2}, H5T_NATIVE_INT) ==
        "'x': the attribute 'shape' is not a list of at most 8 int64");
  CHECK(with(H5T_IEEE_F32LE, {2}, "float32", std::vector<int64_t>(9, 1)) ==
        "'x': the attribute 'shape' is not a list of at most 8 int64");
  CHECK(with(H5T_IEEE_F32LE, {2}, "text", {2}) == "'x': is not made of texts, as its attribute 'dtype' says");
  CHECK(with(H5T_C_S1, {2, 2}, "text", {2, 2}) == "'x': a text of shape [2, 2]");
  CHECK(with(H5T_IEEE_F32LE, {2}, "float32", {2}) == "'x': holds 0 bytes, too few for its shape [2]");
}

TEST_CASE("extents in a file are not believed", "[checkpoint]") {
  const auto with_extents = [](const std::vector<hsize_t>& dims, hid_t type, const char* dtype) {
    return refusal_of([&](hid_t file) {
      const auto set = make_dataset(file, type, dims);
      set_text_attribute(set, "dtype", dtype);
      set_shape_attribute(set, std::vector<int64_t>(dims.begin(), dims.end()));
    });
  };
  constexpr hsize_t kTera = hsize_t{1} << 40;
  CHECK(with_extents({kTera}, H5T_IEEE_F32LE, "float32") ==
        "'x': holds 0 bytes, too few for its shape [1099511627776]");
  CHECK_THAT(with_extents({kTera, kTera / 8192}, H5T_IEEE_F32LE, "float32"), ContainsSubstring("too few"));
  CHECK_THAT(with_extents({kTera}, H5T_C_S1, "text"), ContainsSubstring("too few"));
}

TEST_CASE("links in a file are not followed out of it or in circles", "[checkpoint]") {
  CHECK(refusal_of([](hid_t file) {
          ATTUNE_HDF5("test", H5Lcreate_soft, "/nowhere", file, "x", H5P_DEFAULT, H5P_DEFAULT);
        }) == "'x' is a soft or external link");
  CHECK(refusal_of([](hid_t file) {
          ATTUNE_HDF5("test", H5Lcreate_external, "/etc/passwd", "/", file, "x", H5P_DEFAULT, H5P_DEFAULT);
        }) == "'x' is a soft or external link");
  const auto group = hdf5::group_properties("test", H5P_GROUP_CREATE);
  CHECK(refusal_of([&](hid_t file) {
          const auto made = ATTUNE_HDF5_OPEN(Group, "test", H5Gcreate2, file, "a", H5P_DEFAULT, group, H5P_DEFAULT);
          ATTUNE_HDF5("test", H5Lcreate_hard, file, "a", made, "again", H5P_DEFAULT, H5P_DEFAULT);
        }) == "the group 'a/again' is linked twice");
  CHECK_THAT(refusal_of([&](hid_t file) {
               std::string path;
               for (int depth = 0; depth < 100; ++depth) {
                 path += depth == 0 ? "a" : "/a";
                 ATTUNE_HDF5_OPEN(Group, "test", H5Gcreate2, file, path.c_str(), H5P_DEFAULT, group, H5P_DEFAULT);
               }
             }),
             StartsWith("groups are nested deeper than 64"));
  CHECK(refusal_of([&](hid_t file) {
          const auto type = hdf5::text_type("test", 4);
          ATTUNE_HDF5("test", H5Tcommit2, file, "x", type, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        }) == "'x' is neither a group nor a dataset");
  CHECK_THAT(refusal_of<IoError>([&](hid_t file) {
               ATTUNE_HDF5_OPEN(Group, "test", H5Gcreate2, file, "a", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
               const auto made = ATTUNE_HDF5_OPEN(Group, "test", H5Gopen2, file, "a", H5P_DEFAULT);
               ATTUNE_HDF5_OPEN(Group, "test", H5Gcreate2, made, "b", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
             }),
             ContainsSubstring("H5Lget_name_by_idx failed: "));
}

}  // namespace
}  // namespace attune

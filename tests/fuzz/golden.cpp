// Any bytes are golden cases or an Error, whatever HDF5 makes of them.

#include <cstdlib>

#include "framework/error.h"
#include "framework/hdf5_image.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/seeds.h"
#include "tests/golden/case.h"

using namespace attune;

namespace {

void put_text(hid_t object, const char* name, const std::string& text) {
  const auto type = hdf5::text_type("seed", text.size());
  const auto space = ATTUNE_HDF5_OPEN(Space, "seed", H5Screate, H5S_SCALAR);
  const auto made =
      ATTUNE_HDF5_OPEN(Attribute, "seed", H5Acreate2, object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  ATTUNE_HDF5("seed", H5Awrite, made, type, text.data());
}

std::string seed() {
  const hdf5::Image image("seed", 512, 1 << 16, [](hid_t file) {
    put_text(file, "format", "attune-golden-1");
    const auto links = ATTUNE_HDF5_OPEN(Properties, "seed", H5Pcreate, H5P_LINK_CREATE);
    ATTUNE_HDF5("seed", H5Pset_create_intermediate_group, links, 1);
    for (const char* name : {"case/inputs/x", "case/outputs/y"}) {
      const hsize_t extent = 3;
      const double values[3] = {1, 2, 3};
      const auto space = ATTUNE_HDF5_OPEN(Space, "seed", H5Screate_simple, 1, &extent, nullptr);
      const auto set = ATTUNE_HDF5_OPEN(Dataset, "seed", H5Dcreate2, file, name, H5T_NATIVE_DOUBLE, space, links,
                                        H5P_DEFAULT, H5P_DEFAULT);
      ATTUNE_HDF5("seed", H5Dwrite, set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    }
    const auto group = ATTUNE_HDF5_OPEN(Group, "seed", H5Gopen2, file, "case", H5P_DEFAULT);
    put_text(group, "layer", "Linear");
    put_text(group, "config", R"({"in_features": 2})");
  });
  return std::string(512, ' ') + std::string(image.content());
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  testing::write_seeds(*argc, *argv, {seed()});
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const testing::MemoryFile file({reinterpret_cast<const char*>(data), size});
  try {
    for (const golden::Case& read : golden::read_cases(file.path())) {
      if (read.outputs.empty() || !read.config.is_object()) std::abort();
    }
  } catch (const Error& error) {
    testing::require_message(error.what());
  }
  return 0;
}

#include "framework/hdf5_image.h"

#include <cstdlib>
#include <cstring>

namespace attune::hdf5 {

// The file driver is given our own memory functions, to take the file over when it is closed instead of copying it out
// before (H5Fget_file_image, which moreover spoils the superblock's checksum when there is a header in front).
H5FD_file_image_callbacks_t Image::callbacks(Image* image) {
  return {
      .image_malloc = [](size_t bytes, H5FD_file_image_op_t, void*) { return std::malloc(bytes); },
      .image_memcpy = [](void* to, const void* from, size_t bytes, H5FD_file_image_op_t,
                         void*) { return std::memcpy(to, from, bytes); },
      .image_realloc = [](void* memory, size_t bytes, H5FD_file_image_op_t,
                          void*) { return std::realloc(memory, bytes); },
      .image_free = [](void* memory, H5FD_file_image_op_t when, void* owner) -> herr_t {
        if (when == H5FD_FILE_IMAGE_OP_FILE_CLOSE) {
          static_cast<Image*>(owner)->memory_ = memory;
        } else {
          std::free(memory);
        }
        return 0;
      },
      .udata_copy = [](void* owner) { return owner; },
      .udata_free = [](void*) -> herr_t { return 0; },
      .udata = image,
  };
}

Image::Image(const std::string& who, size_t header_bytes, size_t expected_bytes, const std::function<void(hid_t)>& fill)
    : header_bytes_(header_bytes) {
  const Properties access = ATTUNE_HDF5_OPEN(Properties, who, H5Pcreate, H5P_FILE_ACCESS);
  ATTUNE_HDF5(who, H5Pset_fapl_core, access, expected_bytes, false);
  // HDF5 1.10 and later read it; a dataset of one chunk then needs no index of chunks (2.6 KB each before).
  ATTUNE_HDF5(who, H5Pset_libver_bounds, access, H5F_LIBVER_V110, H5F_LIBVER_V110);
  H5FD_file_image_callbacks_t functions = callbacks(this);
  ATTUNE_HDF5(who, H5Pset_file_image_callbacks, access, &functions);
  const Properties creation = group_properties(who, H5P_FILE_CREATE);
  ATTUNE_HDF5(who, H5Pset_userblock, creation, header_bytes);

  try {
    File file = ATTUNE_HDF5_OPEN(File, who, H5Fcreate, "checkpoint", H5F_ACC_TRUNC, creation, access);
    fill(file);
    ATTUNE_HDF5(who, H5Fflush, file, H5F_SCOPE_LOCAL);
    content_bytes_ = static_cast<size_t>(ATTUNE_HDF5(who, H5Fget_file_image, file, nullptr, 0));
    file.close(who, "H5Fclose");
  } catch (...) {
    std::free(memory_);
    throw;
  }
}

Image::~Image() { std::free(memory_); }

Properties group_properties(const std::string& who, hid_t kind) {
  Properties properties = ATTUNE_HDF5_OPEN(Properties, who, H5Pcreate, kind);
  ATTUNE_HDF5(who, H5Pset_link_creation_order, properties, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
  ATTUNE_HDF5(who, H5Pset_obj_track_times, properties, false);
  return properties;
}

}  // namespace attune::hdf5

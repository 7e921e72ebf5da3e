#include "framework/hdf5_image.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "framework/fail.h"

namespace attune::hdf5 {
namespace {

// HDF5 looks for a file of the name that a file in memory is given, and reads all of it. Below a device there is none.
constexpr const char* kNoFile = "/dev/null/checkpoint";

}  // namespace

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
    File file = ATTUNE_HDF5_OPEN(File, who, H5Fcreate, kNoFile, H5F_ACC_TRUNC, creation, access);
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

MappedFile::MappedFile(const std::string& who, int descriptor, size_t bytes) : bytes_(bytes) {
  // HDF5 may write into its copy of a file; this one's pages are then this process's own.
  memory_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, descriptor, 0);
  require<IoError>(memory_ != MAP_FAILED, "{}: cannot be read: {}", who, std::generic_category().message(errno));
  try {
    const Properties access = ATTUNE_HDF5_OPEN(Properties, who, H5Pcreate, H5P_FILE_ACCESS);
    ATTUNE_HDF5(who, H5Pset_fapl_core, access, size_t{1} << 20, false);
    // Where HDF5 would copy the whole of it, once or twice, the same memory is handed on.
    H5FD_file_image_callbacks_t functions = {
        .image_malloc = [](size_t, H5FD_file_image_op_t, void* memory) { return memory; },
        .image_memcpy = [](void* to, const void*, size_t, H5FD_file_image_op_t, void*) { return to; },
        .image_realloc = nullptr,
        .image_free = [](void*, H5FD_file_image_op_t, void*) -> herr_t { return 0; },
        .udata_copy = [](void* memory) { return memory; },
        .udata_free = [](void*) -> herr_t { return 0; },
        .udata = memory_,
    };
    ATTUNE_HDF5(who, H5Pset_file_image_callbacks, access, &functions);
    ATTUNE_HDF5(who, H5Pset_file_image, access, memory_, bytes);
    file_ = ATTUNE_HDF5(who, H5Fopen, kNoFile, H5F_ACC_RDONLY, access);
  } catch (...) {
    ::munmap(memory_, bytes_);
    throw;
  }
}

MappedFile::~MappedFile() {
  H5Fclose(file_);
  ::munmap(memory_, bytes_);
}

Properties group_properties(const std::string& who, hid_t kind) {
  Properties properties = ATTUNE_HDF5_OPEN(Properties, who, H5Pcreate, kind);
  ATTUNE_HDF5(who, H5Pset_link_creation_order, properties, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
  ATTUNE_HDF5(who, H5Pset_obj_track_times, properties, false);
  return properties;
}

}  // namespace attune::hdf5

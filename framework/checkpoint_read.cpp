// The side of Checkpoint::load() that runs in a child process: all that the HDF5 library does with a file.

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <span>

#include "framework/checkpoint.h"
#include "framework/checkpoint_format.h"
#include "framework/fail.h"
#include "framework/hdf5_image.h"
#include "framework/text.h"

namespace attune::checkpoint_format {
namespace {

/// What a hard link leads to: two links with the same identity lead to one object.
std::string identity(const H5L_info_t& link) {
#if H5_VERSION_GE(1, 12, 0)
  return std::string(reinterpret_cast<const char*>(&link.u.token), sizeof link.u.token);
#else
  return std::string(reinterpret_cast<const char*>(&link.u.address), sizeof link.u.address);
#endif
}

std::vector<int64_t> extents(const std::string& where, hid_t id) {
  const hdf5::Space space = ATTUNE_HDF5_OPEN(Space, where, H5Dget_space, id);
  const int rank = ATTUNE_HDF5(where, H5Sget_simple_extent_ndims, space);
  std::vector<hsize_t> dims(static_cast<size_t>(rank));
  ATTUNE_HDF5(where, H5Sget_simple_extent_dims, space, dims.data(), nullptr);
  return std::vector<int64_t>(dims.begin(), dims.end());
}

hdf5::Attribute attribute(const std::string& where, hid_t owner, const char* name) {
  require<FormatError>(H5Aexists(owner, name) > 0, "{}: the attribute '{}' is missing", where, name);
  return ATTUNE_HDF5_OPEN(Attribute, where, H5Aopen, owner, name, H5P_DEFAULT);
}

/// any_length: format 1 wrote them so, in HDF5's heap.
std::string text_attribute(const std::string& where, hid_t owner, const char* name, bool any_length) {
  const hdf5::Attribute found = attribute(where, owner, name);
  const hdf5::Type type = ATTUNE_HDF5_OPEN(Type, where, H5Aget_type, found);
  const hdf5::Space space = ATTUNE_HDF5_OPEN(Space, where, H5Aget_space, found);
  require<FormatError>(H5Tget_class(type) == H5T_STRING && (H5Tis_variable_str(type) > 0) == any_length &&
                           H5Sget_simple_extent_type(space) == H5S_SCALAR,
                       "{}: the attribute '{}' is not a text", where, name);
  if (any_length) {
    char* raw = nullptr;
    ATTUNE_HDF5(where, H5Aread, found, type, &raw);
    std::string out = raw == nullptr ? "" : raw;
    H5free_memory(raw);
    return out;
  }
  std::string out(H5Tget_size(type), '\0');
  ATTUNE_HDF5(where, H5Aread, found, type, out.data());
  out.resize(strnlen(out.data(), out.size()));
  return out;
}

std::vector<int64_t> shape_attribute(const std::string& where, hid_t owner) {
  const hdf5::Attribute found = attribute(where, owner, kShapeAttribute);
  const hdf5::Type type = ATTUNE_HDF5_OPEN(Type, where, H5Aget_type, found);
  const hdf5::Space space = ATTUNE_HDF5_OPEN(Space, where, H5Aget_space, found);
  const hssize_t rank = ATTUNE_HDF5(where, H5Sget_simple_extent_npoints, space);
  require<FormatError>(
      H5Tequal(type, H5T_STD_I64LE) > 0 && H5Sget_simple_extent_ndims(space) == 1 && rank <= Shape::kMaxRank,
      "{}: the attribute '{}' is not a list of at most {} int64", where, kShapeAttribute, Shape::kMaxRank);
  std::vector<int64_t> shape(static_cast<size_t>(rank));
  if (rank > 0) ATTUNE_HDF5(where, H5Aread, found, H5T_NATIVE_INT64, shape.data());
  return shape;
}

/// Walks through a file whose bytes are those that were written, yet trusts nothing in it: whoever can compute a
/// SHA-256 can write any file.
class TreeReader {
 public:
  TreeReader(const VerifiedFile& file, ByteSink& sink)
      : who_(file.name()), any_length_(file.version() == 1), file_bytes_(file.size()), sink_(sink) {}

  void group(hid_t id, const std::string& prefix, int depth) {
    require<FormatError>(depth < kMaxDepth, "{}: groups are nested deeper than {} at '{}'", who_, kMaxDepth,
                         shown(prefix));
    H5G_info_t info{};
    ATTUNE_HDF5(who_, H5Gget_info, id, &info);
    for (hsize_t i = 0; i < info.nlinks; ++i) {
      const auto name_at = [&](char* to, size_t bytes) {
        return static_cast<size_t>(
            ATTUNE_HDF5(who_, H5Lget_name_by_idx, id, ".", H5_INDEX_CRT_ORDER, H5_ITER_INC, i, to, bytes, H5P_DEFAULT));
      };
      std::string name(name_at(nullptr, 0), '\0');
      name_at(name.data(), name.size() + 1);
      require<FormatError>(prefix.size() + name.size() <= kMaxPathBytes, "{}: the path '{}' has more than {} bytes",
                           who_, shown(prefix + name), kMaxPathBytes);
      object(id, name, prefix + name, depth);
    }
  }

 private:
  static constexpr int kMaxDepth = 64;

  void object(hid_t parent, const std::string& name, const std::string& path, int depth) {
    H5L_info_t link{};
    ATTUNE_HDF5(who_, H5Lget_info, parent, name.c_str(), &link, H5P_DEFAULT);
    require<FormatError>(link.type == H5L_TYPE_HARD, "{}: '{}' is a soft or external link", who_, shown(path));
    const std::string target = identity(link);
    if (const auto known = read_.find(target); known != read_.end()) {
      begin(Part::kSame, path);
      sink_.number(known->second);
      return;
    }
    const hdf5::Object child = ATTUNE_HDF5_OPEN(Object, who_, H5Oopen, parent, name.c_str(), H5P_DEFAULT);
    const H5I_type_t type = H5Iget_type(child);
    if (type == H5I_GROUP) {
      require<FormatError>(groups_.insert(target).second, "{}: the group '{}' is linked twice", who_, shown(path));
      group(child, path + '/', depth + 1);
      return;
    }
    require<FormatError>(type == H5I_DATASET, "{}: '{}' is neither a group nor a dataset", who_, shown(path));
    read_.emplace(target, entries_);
    dataset(child, path);
  }

  void begin(Part part, const std::string& path) {
    sink_.number(static_cast<uint64_t>(part));
    sink_.text(path);
    ++entries_;
  }

  void dataset(hid_t id, const std::string& path) {
    const std::string where = fmt::format("{}: '{}'", who_, shown(path));
    const std::string dtype = text_attribute(where, id, kDTypeAttribute, any_length_);
    const std::vector<int64_t> shape = shape_attribute(where, id);
    const std::vector<int64_t> stored = extents(where, id);
    if (dtype == kTextType && is_joined(where, id)) {
      require<FormatError>(shape.size() == 1 && stored.size() == 1, "{}: a list of shape [{}]", where,
                           fmt::join(shape, ", "));
      joined_texts(where, id, path, shape[0], stored[0]);
      return;
    }
    const std::vector<int64_t> expected = shape.empty() ? std::vector<int64_t>{1} : shape;
    require<FormatError>(stored == expected, "{}: is stored as [{}], its attribute '{}' says [{}]", where,
                         fmt::join(stored, ", "), kShapeAttribute, fmt::join(shape, ", "));
    if (dtype != kTextType) {
      tensor(where, id, path, dtype, shape);
      return;
    }
    require<FormatError>(shape.size() <= 1, "{}: a text of shape [{}]", where, fmt::join(shape, ", "));
    texts(where, id, path, shape, stored[0]);
  }

  void tensor(const std::string& where, hid_t id, const std::string& path, const std::string& name,
              const std::vector<int64_t>& shape) {
    DType dtype{};
    try {
      dtype = parse_dtype(shown(name));
    } catch (const DTypeError& error) {
      fail<FormatError>("{}: {}", where, error.what());
    }
    const hid_t type = hdf5::element_type(dtype);
    const hdf5::Type stored = ATTUNE_HDF5_OPEN(Type, where, H5Dget_type, id);
    require<FormatError>(ATTUNE_HDF5(where, H5Tequal, stored, type) > 0,
                         "{}: its elements are not those of its attribute '{}', {}", where, kDTypeAttribute, name);
    const std::string elements = read(where, id, type, require_stored(where, id, shape, dtype_size(dtype)));
    begin(Part::kTensor, path);
    sink_.number(static_cast<uint64_t>(dtype));
    sink_.number(shape.size());
    for (const int64_t extent : shape) sink_.number(static_cast<uint64_t>(extent));
    sink_.bytes(elements.data(), elements.size());
  }

  /// A text or a list.
  void begin_texts(const std::string& path, bool list, int64_t count) {
    begin(list ? Part::kList : Part::kText, path);
    if (list) sink_.number(static_cast<uint64_t>(count));
  }

  void texts(const std::string& where, hid_t id, const std::string& path, const std::vector<int64_t>& shape,
             int64_t count) {
    const hdf5::Type stored = ATTUNE_HDF5_OPEN(Type, where, H5Dget_type, id);
    require<FormatError>(H5Tget_class(stored) == H5T_STRING, "{}: is not made of texts, as its attribute '{}' says",
                         where, kDTypeAttribute);
    const size_t width = H5Tget_size(stored);
    const size_t bytes = require_stored(where, id, std::span(&count, 1), width);
    if (H5Tis_variable_str(stored) > 0) {
      require<FormatError>(any_length_, "{}: texts of any length, which are of format 1", where);
      heap_texts(where, id, path, shape, count);
      return;
    }
    const std::string table = read(where, id, stored, bytes);
    begin_texts(path, !shape.empty(), count);
    for (size_t at = 0; at < bytes; at += width) {
      sink_.text(std::string_view(table.data() + at, strnlen(table.data() + at, width)));
    }
  }

  /// Texts that lie in HDF5's heap, as format 1 had them.
  void heap_texts(const std::string& where, hid_t id, const std::string& path, const std::vector<int64_t>& shape,
                  int64_t count) {
    const hdf5::Type type = hdf5::text_type(where, H5T_VARIABLE);
    std::vector<char*> pointers(static_cast<size_t>(count), nullptr);
    if (count > 0) ATTUNE_HDF5(where, H5Dread, id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data());
    for (const char* text : pointers) take(where, text == nullptr ? 0 : std::strlen(text));
    begin_texts(path, !shape.empty(), count);
    for (char* text : pointers) {
      sink_.text(text == nullptr ? std::string_view() : std::string_view(text));
      H5free_memory(text);
    }
  }

  bool is_joined(const std::string& where, hid_t id) const {
    const hdf5::Type stored = ATTUNE_HDF5_OPEN(Type, where, H5Dget_type, id);
    return !any_length_ && H5Tget_class(stored) == H5T_INTEGER;
  }

  /// The bytes of a list's texts, each followed by a NUL.
  void joined_texts(const std::string& where, hid_t id, const std::string& path, int64_t count, int64_t bytes) {
    const hdf5::Type stored = ATTUNE_HDF5_OPEN(Type, where, H5Dget_type, id);
    require<FormatError>(ATTUNE_HDF5(where, H5Tequal, stored, H5T_STD_U8LE) > 0,
                         "{}: is not made of texts, as its attribute '{}' says", where, kDTypeAttribute);
    const std::string all = read(where, id, H5T_STD_U8LE, require_stored(where, id, std::span(&bytes, 1), 1));
    require<FormatError>(
        count >= 0 && std::count(all.begin(), all.end(), '\0') == count && (all.empty() || all.back() == '\0'),
        "{}: does not hold the {} texts that its attribute '{}' says", where, count, kShapeAttribute);
    begin_texts(path, true, count);
    for (size_t at = 0; at < all.size();) {
      const std::string_view text(all.data() + at);
      sink_.text(text);
      at += text.size() + 1;
    }
  }

  static std::string read(const std::string& where, hid_t id, hid_t type, size_t bytes) {
    std::string out(bytes, '\0');
    if (bytes > 0) ATTUNE_HDF5(where, H5Dread, id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out.data());
    return out;
  }

  /// Memory is taken only for what the file really holds: extents alone are just numbers, and many datasets may say
  /// that the same chunks are theirs. Returns the bytes of all elements.
  size_t require_stored(const std::string& where, hid_t id, std::span<const int64_t> shape, size_t element) {
    const hdf5::Properties creation = ATTUNE_HDF5_OPEN(Properties, where, H5Dget_create_plist, id);
    require<FormatError>(H5Pget_layout(creation) == H5D_CHUNKED, "{}: is not a chunked dataset", where);
    const hsize_t stored = H5Dget_storage_size(id);
    bool plausible = stored <= file_bytes_;
    bool empty = false;
    uint64_t bytes = element;
    for (const int64_t extent : shape) {
      const auto factor = static_cast<uint64_t>(std::max<int64_t>(extent, 1));
      plausible = plausible && extent >= 0 && bytes <= uint64_t{INT64_MAX} / factor;
      bytes = plausible ? bytes * factor : 0;
      empty = empty || extent == 0;
    }
    require<FormatError>(plausible && (empty || bytes <= stored), "{}: holds {} bytes, too few for its shape [{}]",
                         where, stored, fmt::join(shape, ", "));
    take(where, empty ? 0 : bytes);
    return empty ? 0 : bytes;
  }

  void take(const std::string& where, uint64_t bytes) {
    require<FormatError>(bytes <= file_bytes_ - taken_, "{}: with it the entries have more bytes than the file, {}",
                         where, file_bytes_);
    taken_ += bytes;
  }

  const std::string& who_;
  bool any_length_;
  uint64_t file_bytes_;
  ByteSink& sink_;
  uint64_t taken_ = 0;
  uint64_t entries_ = 0;
  std::map<std::string, uint64_t> read_;  // datasets, to their entries
  std::set<std::string> groups_;
};

}  // namespace

void send_content(const VerifiedFile& verified, ByteSink& sink) {
  const hdf5::Silence silence;
  const std::string& who = verified.name();
  const hdf5::MappedFile file(who, verified.descriptor(), verified.size());
  const bool any_length = verified.version() == 1;
  sink.text(text_attribute(who, file.id(), kLibraryAttribute, any_length));
  TreeReader(verified, sink).group(file.id(), "", 0);
  sink.number(static_cast<uint64_t>(Part::kEnd));
  sink.text(text_attribute(who, file.id(), kDigestAttribute, any_length));
}

}  // namespace attune::checkpoint_format

#include "tests/golden/case.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include "framework/child_process.h"
#include "framework/fail.h"
#include "framework/hdf5_image.h"
#include "framework/json_text.h"
#include "framework/text.h"

namespace attune::golden {
namespace {

constexpr const char* kFormat = "attune-golden-1";
// A damaged header may claim any size.
constexpr int64_t kMaxElements = int64_t{1} << 27;
// What is one byte in a file, or compressed, is more in memory.
constexpr uint64_t kGrowth = 64;
constexpr uint64_t kMaxNameBytes = 1000;
constexpr uint64_t kMaxTextBytes = uint64_t{1} << 20;
constexpr uint64_t kMaxCount = 100000;

/// Elements that a file may still have in memory: many may stand for the same bytes, or for none.
class Budget {
 public:
  explicit Budget(uint64_t file_bytes) : left_(kGrowth * file_bytes) {}
  void take(uint64_t bytes, const std::string& who) {
    require<FormatError>(bytes <= left_, "{}: with it the file claims more elements than its bytes can hold", who);
    left_ -= bytes;
  }

 private:
  uint64_t left_;
};

/// Names and texts are printed: what is no text comes from a damaged file.
std::string checked(std::string text, const std::string& who) {
  const bool printable = std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
  require<FormatError>(printable, "{}: holds a name or text with bytes outside printable ASCII", who);
  return text;
}

std::string read_text(hid_t object, const char* name, const std::string& who) {
  require<FormatError>(ATTUNE_HDF5(who, H5Aexists, object, name) > 0, "{}: the attribute '{}' is missing", who, name);
  const auto attribute = ATTUNE_HDF5_OPEN(Attribute, who, H5Aopen, object, name, H5P_DEFAULT);
  const auto type = ATTUNE_HDF5_OPEN(Type, who, H5Aget_type, attribute);
  const auto space = ATTUNE_HDF5_OPEN(Space, who, H5Aget_space, attribute);
  require<FormatError>(H5Tget_class(type) == H5T_STRING && H5Sget_simple_extent_npoints(space) == 1,
                       "{}: the attribute '{}' is not a text", who, name);
  if (ATTUNE_HDF5(who, H5Tis_variable_str, type) > 0) {
    char* text = nullptr;
    ATTUNE_HDF5(who, H5Aread, attribute, type, &text);
    const std::unique_ptr<char, herr_t (*)(void*)> owner(text, &H5free_memory);
    return checked(text == nullptr ? "" : text, who);
  }
  std::string text(H5Tget_size(type), '\0');
  ATTUNE_HDF5(who, H5Aread, attribute, type, text.data());
  return checked(text.substr(0, text.find('\0')), who);
}

/// Of the file itself: not of another one, which its links or its storage would name.
void require_own(hid_t group, const std::string& name, const std::string& who) {
  H5L_info_t link{};
  ATTUNE_HDF5(who, H5Lget_info, group, name.c_str(), &link, H5P_DEFAULT);
  require<FormatError>(link.type == H5L_TYPE_HARD, "{}: is a soft or external link", who);
}
void require_own_storage(hid_t set, const std::string& who) {
  const auto creation = ATTUNE_HDF5_OPEN(Properties, who, H5Dget_create_plist, set);
  const H5D_layout_t layout = H5Pget_layout(creation);
  const bool own = layout == H5D_COMPACT || layout == H5D_CHUNKED ||
                   (layout == H5D_CONTIGUOUS && H5Pget_external_count(creation) == 0);
  require<FormatError>(own, "{}: its elements lie in another file", who);
}

/// The dtype's number, the rank, the extents, the elements.
void send_tensor(hid_t group, const std::string& name, const std::string& who, Budget& budget, ByteSink& sink) {
  require_own(group, name, who);
  const auto set = ATTUNE_HDF5_OPEN(Dataset, who, H5Dopen2, group, name.c_str(), H5P_DEFAULT);
  require_own_storage(set, who);
  const auto type = ATTUNE_HDF5_OPEN(Type, who, H5Dget_type, set);
  const auto space = ATTUNE_HDF5_OPEN(Space, who, H5Dget_space, set);
  const int rank = ATTUNE_HDF5(who, H5Sget_simple_extent_ndims, space);
  require<FormatError>(rank <= Shape::kMaxRank, "{}: rank {}, at most {} is supported", who, rank, Shape::kMaxRank);
  hsize_t extents[Shape::kMaxRank] = {};
  ATTUNE_HDF5(who, H5Sget_simple_extent_dims, space, extents, nullptr);
  int64_t elements = 1;
  for (int axis = 0; axis < rank; ++axis) {
    require<FormatError>(extents[axis] <= kMaxElements, "{}: axis {} claims {} elements", who, axis, extents[axis]);
    elements *= static_cast<int64_t>(extents[axis]);
    require<FormatError>(elements <= kMaxElements, "{}: more than {} elements claimed", who, kMaxElements);
  }
  const H5T_class_t kind = H5Tget_class(type);
  require<FormatError>(kind == H5T_FLOAT || kind == H5T_INTEGER, "{}: neither floats nor integers", who);
  const DType dtype = kind == H5T_FLOAT ? DType::kFloat64 : H5Tget_size(type) == 1 ? DType::kBool : DType::kInt64;
  const hid_t memory = dtype == DType::kFloat64 ? H5T_NATIVE_DOUBLE
                       : dtype == DType::kBool  ? H5T_NATIVE_UCHAR
                                                : H5T_NATIVE_INT64;
  std::string bytes;
  budget.take(static_cast<uint64_t>(elements) * dtype_size(dtype), who);
  bytes.resize(static_cast<size_t>(elements) * dtype_size(dtype));
  if (elements > 0) ATTUNE_HDF5(who, H5Dread, set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data());
  if (dtype == DType::kBool) {
    for (char& byte : bytes) byte = byte != 0 ? 1 : 0;
  }
  sink.number(static_cast<uint64_t>(dtype));
  sink.number(static_cast<uint64_t>(rank));
  for (int axis = 0; axis < rank; ++axis) sink.number(extents[axis]);
  sink.bytes(bytes.data(), bytes.size());
}

Tensor receive_tensor(ByteSource& source, const std::string& who, Budget& budget) {
  const uint64_t dtype = source.number();
  const uint64_t rank = source.number();
  require<FormatError>(dtype <= static_cast<uint64_t>(DType::kBool) && rank <= Shape::kMaxRank,
                       "{}: damaged: no tensor of dtype {} and rank {}", who, dtype, rank);
  Shape shape;
  uint64_t elements = 1;
  for (uint64_t axis = 0; axis < rank; ++axis) {
    const uint64_t extent = source.number();
    require<FormatError>(extent <= kMaxElements && elements * extent <= kMaxElements,
                         "{}: more than {} elements claimed", who, kMaxElements);
    elements *= extent;
    shape.push_back(static_cast<int64_t>(extent));
  }
  const uint64_t bytes = elements * dtype_size(static_cast<DType>(dtype));
  budget.take(bytes, who);
  Tensor tensor = Tensor::empty(shape, static_cast<DType>(dtype));
  source.bytes(tensor.raw(), bytes);
  if (tensor.dtype() == DType::kBool) {
    for (uint64_t i = 0; i < bytes; ++i) tensor.raw()[i] &= std::byte{1};
  }
  return tensor;
}

/// Calls f(name) for every link of a group, in the order of names.
template <class F>
void for_links(hid_t group, const std::string& who, F&& f) {
  H5G_info_t info;
  ATTUNE_HDF5(who, H5Gget_info, group, &info);
  for (hsize_t i = 0; i < info.nlinks; ++i) {
    const auto length =
        ATTUNE_HDF5(who, H5Lget_name_by_idx, group, ".", H5_INDEX_NAME, H5_ITER_INC, i, nullptr, 0, H5P_DEFAULT);
    require<FormatError>(static_cast<uint64_t>(length) <= kMaxNameBytes, "{}: a name of {} bytes", who, length);
    std::string name(static_cast<size_t>(length), '\0');
    ATTUNE_HDF5(who, H5Lget_name_by_idx, group, ".", H5_INDEX_NAME, H5_ITER_INC, i, name.data(), name.size() + 1,
                H5P_DEFAULT);
    f(checked(std::move(name), who));
  }
}

/// The groups of a case, in the order in which they are sent.
constexpr std::pair<const char*, Tensors Case::*> kGroups[] = {
    {"inputs", &Case::inputs},           {"params", &Case::params},
    {"outputs", &Case::outputs},         {"grad_outputs", &Case::grad_outputs},
    {"grad_inputs", &Case::grad_inputs}, {"grad_params", &Case::grad_params}};

/// The number of tensors, then the name and the tensor of each.
void send_tensors(hid_t group, const char* name, const std::string& who, Budget& budget, ByteSink& sink) {
  std::vector<std::string> names;
  if (ATTUNE_HDF5(who, H5Lexists, group, name, H5P_DEFAULT) == 0) return sink.number(0);
  const std::string below = who + "/" + name;
  require_own(group, name, below);
  const auto sub = ATTUNE_HDF5_OPEN(Group, below, H5Gopen2, group, name, H5P_DEFAULT);
  for_links(sub, below, [&](std::string link) { names.push_back(std::move(link)); });
  sink.number(names.size());
  for (const std::string& link : names) {
    sink.text(link);
    send_tensor(sub, link, below + "/" + link, budget, sink);
  }
}

void send_case(hid_t file, const std::string& name, const std::string& path, Budget& budget, ByteSink& sink) {
  const std::string who = path + ": " + name;
  require_own(file, name, who);
  const auto group = ATTUNE_HDF5_OPEN(Group, who, H5Gopen2, file, name.c_str(), H5P_DEFAULT);
  sink.text(name);
  sink.text(read_text(group, "layer", who));
  sink.text(read_text(group, "config", who));
  for (const auto& [below, member] : kGroups) send_tensors(group, below, who, budget, sink);
}

void send_file(const std::string& who, int descriptor, uint64_t file_bytes, ByteSink& sink) {
  const hdf5::Silence silence;
  const hdf5::MappedFile mapped(who, descriptor, file_bytes);
  const hid_t file = mapped.id();
  const std::string format = read_text(file, "format", who);
  require<FormatError>(format == kFormat, "{}: the format is '{}', expected '{}'", who, shown(format), kFormat);
  std::vector<std::string> names;
  for_links(file, who, [&](std::string name) { names.push_back(std::move(name)); });
  require<FormatError>(!names.empty(), "{}: holds no cases", who);
  Budget budget(file_bytes);
  sink.number(names.size());
  for (const std::string& name : names) send_case(file, name, who, budget, sink);
}

Case receive_case(ByteSource& source, const std::string& path, Budget& budget) {
  Case read;
  read.name = checked(source.text(kMaxNameBytes), path);
  const std::string who = path + ": " + read.name;
  read.layer = checked(source.text(kMaxTextBytes), who);
  const std::string config = checked(source.text(kMaxTextBytes), who);
  if (is_json(config)) read.config = nlohmann::json::parse(config);
  require<FormatError>(read.config.is_object(), "{}: the attribute 'config' is not a JSON object: {}", who,
                       shown(config, 60));
  for (const auto& [below, member] : kGroups) {
    const uint64_t count = source.number();
    require<FormatError>(count <= kMaxCount, "{}/{}: holds {} tensors", who, below, count);
    for (uint64_t i = 0; i < count; ++i) {
      std::string name = checked(source.text(kMaxNameBytes), who);
      Tensor tensor = receive_tensor(source, fmt::format("{}/{}/{}", who, below, name), budget);
      (read.*member).emplace_back(std::move(name), std::move(tensor));
    }
  }
  require<FormatError>(!read.outputs.empty(), "{}: holds no outputs to compare with", who);
  return read;
}

}  // namespace

const Tensor* find(const Tensors& tensors, const std::string& name) {
  for (const auto& [key, tensor] : tensors) {
    if (key == name) return &tensor;
  }
  return nullptr;
}

std::vector<Case> read_cases(const std::filesystem::path& path) {
  const std::string who = path.string();
  // The system's reason is better than HDF5's.
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(who.c_str(), "rbe"), &std::fclose);
  require<IoError>(file != nullptr, "{}: cannot be opened: {}", who, std::strerror(errno));
  char byte;
  require<IoError>(std::fread(&byte, 1, 1, file.get()) == 1, "{}: cannot be read, or is empty", who);
  std::error_code error;
  const uint64_t file_bytes = std::filesystem::file_size(path, error);
  require<IoError>(!error, "{}: cannot be read: {}", who, error.message());
  const int descriptor = ::fileno(file.get());
  std::vector<Case> cases;
  // HDF5 crashes or hangs on some damaged files.
  const ChildLimits limits{.memory_bytes = (uint64_t{1} << 28) + kGrowth * file_bytes, .cpu_seconds = 10};
  run_in_child(
      who, limits, [&](ByteSink& sink) { send_file(who, descriptor, file_bytes, sink); },
      [&](ByteSource& source) {
        Budget budget(file_bytes);
        const uint64_t count = source.number();
        require<FormatError>(count <= kMaxCount, "{}: holds {} cases", who, count);
        for (uint64_t i = 0; i < count; ++i) cases.push_back(receive_case(source, who, budget));
      });
  return cases;
}

}  // namespace attune::golden

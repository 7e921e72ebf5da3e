#include "tests/golden/case.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "framework/fail.h"
#include "framework/hdf5_handle.h"

namespace attune::golden {
namespace {

constexpr const char* kFormat = "attune-golden-1";
// A damaged header may claim any size.
constexpr int64_t kMaxElements = int64_t{1} << 27;
constexpr unsigned kMaxSeconds = 60;

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

Tensor read_tensor(hid_t group, const std::string& name, const std::string& who) {
  const auto set = ATTUNE_HDF5_OPEN(Dataset, who, H5Dopen2, group, name.c_str(), H5P_DEFAULT);
  const auto type = ATTUNE_HDF5_OPEN(Type, who, H5Dget_type, set);
  const auto space = ATTUNE_HDF5_OPEN(Space, who, H5Dget_space, set);
  const int rank = ATTUNE_HDF5(who, H5Sget_simple_extent_ndims, space);
  require<FormatError>(rank <= Shape::kMaxRank, "{}: rank {}, at most {} is supported", who, rank, Shape::kMaxRank);
  hsize_t extents[Shape::kMaxRank] = {};
  ATTUNE_HDF5(who, H5Sget_simple_extent_dims, space, extents, nullptr);
  Shape shape;
  int64_t elements = 1;
  for (int axis = 0; axis < rank; ++axis) {
    require<FormatError>(extents[axis] <= kMaxElements, "{}: axis {} claims {} elements", who, axis, extents[axis]);
    shape.push_back(static_cast<int64_t>(extents[axis]));
    elements *= shape[axis];
    require<FormatError>(elements <= kMaxElements, "{}: more than {} elements claimed", who, kMaxElements);
  }

  const auto read = [&](DType dtype, hid_t memory_type) {
    Tensor tensor = Tensor::empty(shape, dtype);
    if (elements > 0) ATTUNE_HDF5(who, H5Dread, set, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor.raw());
    return tensor;
  };
  switch (H5Tget_class(type)) {
    case H5T_FLOAT:
      return read(DType::kFloat64, H5T_NATIVE_DOUBLE);
    case H5T_INTEGER:
      if (H5Tget_size(type) == 1) {
        Tensor bytes = read(DType::kBool, H5T_NATIVE_UCHAR);
        std::byte* data = bytes.raw();
        for (int64_t i = 0; i < elements; ++i) data[i] = std::byte{data[i] != std::byte{0}};
        return bytes;
      }
      return read(DType::kInt64, H5T_NATIVE_INT64);
    default:
      fail<FormatError>("{}: neither floats nor integers", who);
  }
}

/// Calls f(name) for every link of a group, in the order of names.
template <class F>
void for_links(hid_t group, const std::string& who, F&& f) {
  H5G_info_t info;
  ATTUNE_HDF5(who, H5Gget_info, group, &info);
  for (hsize_t i = 0; i < info.nlinks; ++i) {
    const auto length =
        ATTUNE_HDF5(who, H5Lget_name_by_idx, group, ".", H5_INDEX_NAME, H5_ITER_INC, i, nullptr, 0, H5P_DEFAULT);
    std::string name(static_cast<size_t>(length), '\0');
    ATTUNE_HDF5(who, H5Lget_name_by_idx, group, ".", H5_INDEX_NAME, H5_ITER_INC, i, name.data(), name.size() + 1,
                H5P_DEFAULT);
    f(checked(std::move(name), who));
  }
}

Tensors read_tensors(hid_t group, const char* name, const std::string& who) {
  Tensors tensors;
  if (ATTUNE_HDF5(who, H5Lexists, group, name, H5P_DEFAULT) == 0) return tensors;
  const std::string below = who + "/" + name;
  const auto sub = ATTUNE_HDF5_OPEN(Group, below, H5Gopen2, group, name, H5P_DEFAULT);
  for_links(sub, below,
            [&](const std::string& link) { tensors.emplace_back(link, read_tensor(sub, link, below + "/" + link)); });
  return tensors;
}

Case read_case(hid_t file, const std::string& name, const std::string& path) {
  const std::string who = path + ": " + name;
  const auto group = ATTUNE_HDF5_OPEN(Group, who, H5Gopen2, file, name.c_str(), H5P_DEFAULT);
  Case read;
  read.name = name;
  read.layer = read_text(group, "layer", who);
  const std::string config = read_text(group, "config", who);
  read.config = nlohmann::json::parse(config, nullptr, false);
  require<FormatError>(read.config.is_object(), "{}: the attribute 'config' is not a JSON object: {:.60}", who, config);
  read.inputs = read_tensors(group, "inputs", who);
  read.params = read_tensors(group, "params", who);
  read.outputs = read_tensors(group, "outputs", who);
  read.grad_outputs = read_tensors(group, "grad_outputs", who);
  read.grad_inputs = read_tensors(group, "grad_inputs", who);
  read.grad_params = read_tensors(group, "grad_params", who);
  require<FormatError>(!read.outputs.empty(), "{}: holds no outputs to compare with", who);
  return read;
}

std::vector<Case> read_file(const std::string& who) {
  const hdf5::Silence silence;
  const auto file = ATTUNE_HDF5_OPEN(File, who, H5Fopen, who.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const std::string format = read_text(file, "format", who);
  require<FormatError>(format == kFormat, "{}: the format is '{}', expected '{}'", who, format, kFormat);
  std::vector<Case> cases;
  for_links(file, who, [&](const std::string& name) { cases.push_back(read_case(file, name, who)); });
  require<FormatError>(!cases.empty(), "{}: holds no cases", who);
  return cases;
}

/// Reads the file in a process of its own first: HDF5 crashes or hangs on some damaged files. Throws FormatError with
/// what went wrong there.
void try_in_child(const std::string& who) {
  int ends[2];
  require<IoError>(pipe(ends) == 0, "{}: pipe failed: {}", who, std::strerror(errno));
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    alarm(kMaxSeconds);
    std::string problem;
    try {
      read_file(who);
    } catch (const std::exception& error) {
      problem = error.what();
    }
    const ssize_t written = write(ends[1], problem.data(), problem.size());
    _exit(written == static_cast<ssize_t>(problem.size()) ? 0 : 1);  // HDF5 may hang in its own exit handler
  }
  close(ends[1]);
  std::string problem;
  char buffer[512];
  for (ssize_t n = 1; child > 0 && (n = read(ends[0], buffer, sizeof buffer)) > 0;) {
    problem.append(buffer, static_cast<size_t>(n));
  }
  close(ends[0]);
  require<IoError>(child > 0, "{}: fork failed: {}", who, std::strerror(errno));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  require<FormatError>(problem.empty(), "{}", problem);
  require<FormatError>(WIFEXITED(status) && WEXITSTATUS(status) == 0, "{}: damaged: HDF5 does not survive reading it",
                       who);
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
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> readable(std::fopen(who.c_str(), "rb"), &std::fclose);
  require<IoError>(readable != nullptr, "{}: cannot be opened: {}", who, std::strerror(errno));
  char byte;
  require<IoError>(std::fread(&byte, 1, 1, readable.get()) == 1, "{}: cannot be read, or is empty", who);
  try_in_child(who);
  return read_file(who);
}

}  // namespace attune::golden

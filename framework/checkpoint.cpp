#include "framework/checkpoint.h"

#include <algorithm>
#include <bit>

#include "framework/checkpoint_format.h"
#include "framework/fail.h"
#include "framework/text.h"
#include "framework/version.h"

namespace attune {
namespace {

void require_text(const std::string& path, std::string_view text) {
  require<ValueError>(is_utf8_text(text), "Checkpoint: the text for '{}' is not UTF-8 without NUL", shown(path));
}

/// Parts that HDF5 and this library would take for something else are refused.
void require_path(const std::string& path) {
  bool good = is_utf8_text(path) && path.size() <= checkpoint_format::kMaxPathBytes;
  for (size_t begin = 0; good && begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = std::string_view(path).substr(begin, end - begin);
    good = !part.empty() && part != "." && part != "..";
    begin = end + 1;
  }
  require<ValueError>(good, "Checkpoint: the path '{}' is malformed; expected UTF-8 parts joined by '/'", shown(path));
}

bool is_below(std::string_view path, std::string_view group) {
  return path.size() > group.size() && path[group.size()] == '/' && path.starts_with(group);
}

const char* kind(const Checkpoint::Value& value) {
  return std::holds_alternative<Tensor>(value)        ? "a tensor"
         : std::holds_alternative<std::string>(value) ? "a text"
                                                      : "a list";
}

}  // namespace

bool same_memory(const Tensor& a, const Tensor& b) {
  return a.storage().get() == b.storage().get() && a.offset() == b.offset() && a.dtype() == b.dtype() &&
         a.shape() == b.shape() && a.strides() == b.strides();
}

std::string Checkpoint::Entry::dtype() const {
  const auto* tensor = std::get_if<Tensor>(&value);
  return tensor != nullptr ? dtype_name(tensor->dtype()) : checkpoint_format::kTextType;
}

std::vector<int64_t> Checkpoint::Entry::shape() const {
  if (const auto* tensor = std::get_if<Tensor>(&value)) return {tensor->shape().begin(), tensor->shape().end()};
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) return {std::ssize(*list)};
  return {};
}

int64_t Checkpoint::Entry::bytes() const {
  if (const auto* tensor = std::get_if<Tensor>(&value)) {
    return tensor->numel() * static_cast<int64_t>(dtype_size(tensor->dtype()));
  }
  if (const auto* text = std::get_if<std::string>(&value)) return std::ssize(*text);
  int64_t bytes = 0;
  for (const auto& text : std::get<std::vector<std::string>>(value)) bytes += std::ssize(text);
  return bytes;
}

Checkpoint::Checkpoint() : source_("checkpoint"), library_version_(kVersion) {}

void Checkpoint::add(std::string path, Value value) {
  require_path(path);
  const auto taken = [&](const std::string& other) {
    fail<ValueError>("Checkpoint: '{}' cannot be put beside '{}'", shown(path), shown(other));
  };
  if (index_.contains(path)) taken(path);
  for (size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    const std::string above = path.substr(0, slash);
    if (index_.contains(above)) taken(above);
  }
  const auto below = index_.lower_bound(path + '/');
  if (below != index_.end() && is_below(below->first, path)) taken(below->first);
  index_.emplace(path, entries_.size());
  entries_.push_back({std::move(path), std::move(value)});
}

void Checkpoint::put(std::string path, const Tensor& tensor) {
  require<ValueError>(tensor.defined(), "Checkpoint: the tensor for '{}' is undefined", shown(path));
  add(std::move(path), tensor.to(Device::cpu()));
}

void Checkpoint::put_text(std::string path, std::string text) {
  require_text(path, text);
  add(std::move(path), std::move(text));
}

void Checkpoint::put_list(std::string path, std::vector<std::string> list) {
  for (const auto& text : list) require_text(path, text);
  add(std::move(path), std::move(list));
}

void Checkpoint::put_random(std::string path, RandomState state) {
  put(std::move(path),
      Tensor::from<int64_t>({std::bit_cast<int64_t>(state.seed), std::bit_cast<int64_t>(state.offset)}, {2}));
}

void Checkpoint::put_tensors(std::string_view prefix, const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) {
    require<ValueError>(name.find('/') == std::string::npos, "Checkpoint: the name '{}' holds a '/'", shown(name));
    std::string path = fmt::format("{}/{}", prefix, name);
    std::replace(path.begin() + static_cast<std::ptrdiff_t>(prefix.size()), path.end(), '.', '/');
    put(std::move(path), tensor);
  }
}

bool Checkpoint::contains(std::string_view path) const { return index_.contains(path); }

const Checkpoint::Value& Checkpoint::find(std::string_view path) const {
  const auto at = index_.find(path);
  require<FormatError>(at != index_.end(), "{}: holds no '{}'", source_, shown(path));
  return entries_[at->second].value;
}

template <class T>
const T& Checkpoint::get(std::string_view path) const {
  const Value& value = find(path);
  const T* found = std::get_if<T>(&value);
  require<FormatError>(found != nullptr, "{}: '{}' is {}, expected {}", source_, shown(path), kind(value),
                       kind(Value(T{})));
  return *found;
}

Tensor Checkpoint::tensor(std::string_view path) const { return get<Tensor>(path); }
const std::string& Checkpoint::text(std::string_view path) const { return get<std::string>(path); }
const std::vector<std::string>& Checkpoint::list(std::string_view path) const {
  return get<std::vector<std::string>>(path);
}

RandomState Checkpoint::random(std::string_view path) const {
  const Tensor state = tensor(path);
  require<FormatError>(state.dtype() == DType::kInt64 && state.shape() == Shape{2},
                       "{}: '{}' is {}, expected a random stream: int64 [2]", source_, shown(path), state);
  const auto words = state.to_vector<int64_t>();
  return {std::bit_cast<uint64_t>(words[0]), std::bit_cast<uint64_t>(words[1])};
}

NamedTensors Checkpoint::tensors(std::string_view prefix) const {
  NamedTensors out;
  for (const auto& [path, value] : entries_) {
    const auto* tensor = std::get_if<Tensor>(&value);
    if (tensor == nullptr || !is_below(path, prefix)) continue;
    std::string name = path.substr(prefix.size() + 1);
    std::replace(name.begin(), name.end(), '/', '.');
    out.emplace_back(std::move(name), *tensor);
  }
  return out;
}

std::string Checkpoint::sha256() const { return checkpoint_format::content_sha256(host().entries_); }

Checkpoint Checkpoint::host() const {
  Checkpoint out = *this;
  for (Entry& entry : out.entries_) {
    if (auto* tensor = std::get_if<Tensor>(&entry.value)) *tensor = tensor->to(Device::cpu()).contiguous();
  }
  return out;
}

}  // namespace attune

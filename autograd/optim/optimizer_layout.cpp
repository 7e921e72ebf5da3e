// Where an optimizer keeps what it trains.

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "autograd/optim/optimizer.h"
#include "framework/fail.h"
#include "framework/kernels/copy.h"

namespace attune {
namespace {

const std::byte* address(const Tensor& x) { return x.raw(); }

/// The value of a parameter as the whole of a storage, which can be moved with all handles to it. A copy where it is a
/// part of another tensor, or not contiguous; then nobody else may hold it: what they see would no longer be trained.
Tensor own_storage(const char* who, const std::string& name, const Tensor& value) {
  const StorageRef& storage = value.storage();
  if (value.is_contiguous() && value.offset() == 0 &&
      storage->bytes == static_cast<size_t>(value.numel()) * dtype_size(value.dtype())) {
    return value;
  }
  require<ValueError>(
      storage.unique(),
      "{}: parameter '{}' {} is a view of memory that other tensors hold, or is not contiguous; make it "
      "of a clone()",
      who, name, value);
  return value.clone();
}

}  // namespace

/// Parameters of one group lie side by side, so that a step has few ranges.
void Optimizer::lay_out() {
  for (Entry& entry : entries_) order_.push_back(&entry);
  std::stable_sort(order_.begin(), order_.end(), [](const Entry* a, const Entry* b) { return a->group < b->group; });
  std::vector<int64_t> lengths;
  std::vector<const Tensor*> samples;
  for (Entry* entry : order_) {
    const Tensor& value = entry->leaf->value;
    while (entry->flat < samples.size() &&
           (samples[entry->flat]->dtype() != value.dtype() || samples[entry->flat]->device() != value.device())) {
      ++entry->flat;
    }
    if (entry->flat == samples.size()) {
      samples.push_back(&value);
      lengths.push_back(0);
    }
    int64_t& length = lengths[entry->flat];
    entry->begin = length;
    length += (value.numel() + kFlatAlignment - 1) / kFlatAlignment * kFlatAlignment;
    entry->end = length;
  }
  for (size_t i = 0; i < samples.size(); ++i) {
    Flat& flat = flats_.emplace_back();
    const auto buffer = [&] { return Tensor::zeros({lengths[i]}, samples[i]->dtype(), samples[i]->device()); };
    flat.value = buffer();
    flat.gradient = buffer();
    for (const StateTensor& state : state_) flat.moments.push_back(state.shape_of ? Tensor() : buffer());
    flat.ranges.reserve(entries_.size());
    flat.not_finite = Tensor::full({2}, -1, DType::kInt64, samples[i]->device());
  }
  const Device first = samples.front()->device();
  waits_ = first.is_cpu() ||
           std::any_of(samples.begin(), samples.end(), [&](const Tensor* sample) { return sample->device() != first; });
  if (!waits_) {
    not_finite_ = Tensor::full({static_cast<int64_t>(flats_.size()), 2}, -1, DType::kInt64, first);
    for (size_t i = 0; i < flats_.size(); ++i) flats_[i].not_finite = not_finite_.select(0, static_cast<int64_t>(i));
  }
  std::unordered_map<const Storage*, const Entry*> owners;
  for (const Entry& entry : entries_) {
    const auto [other, added] = owners.emplace(entry.leaf->value.storage().get(), &entry);
    require<ValueError>(added, "{}: parameters '{}' and '{}' share memory; share one Variable, or clone()", who_,
                        other->second->name, entry.name);
  }
  for (Entry& entry : entries_) {
    entry.value = piece(flats_[entry.flat].value, entry);
    entry.gradient = piece(flats_[entry.flat].gradient, entry);
    make_state(entry);
    take(entry);
  }
}

void Optimizer::make_state(Entry& entry) {
  for (size_t k = 0; k < state_.size(); ++k) {
    if (!state_[k].shape_of) {
      entry.state.push_back(piece(flats_[entry.flat].moments[k], entry));
      continue;
    }
    const std::optional<Shape> shape = state_[k].shape_of(entry.value.shape());
    entry.state.push_back(shape ? Tensor::zeros(*shape, entry.value.dtype(), entry.value.device()) : Tensor());
  }
}

Tensor Optimizer::piece(const Tensor& flat, const Entry& entry) const {
  const Shape& shape = entry.leaf->value.shape();
  return flat.as_strided(shape, contiguous_strides(shape), entry.begin);
}

/// Places the leaf's value and gradient in the flat buffers. Handles to the value go on seeing it. Either the leaf
/// holds a gradient, or the buffer is new and zero: its gradient state stays true.
void Optimizer::take(Entry& entry) {
  Leaf& leaf = *entry.leaf;
  if (address(leaf.value) != address(entry.value) || leaf.value.dtype() != entry.value.dtype()) {
    require<ShapeError>(leaf.value.shape() == entry.value.shape() && leaf.value.dtype() == entry.value.dtype(),
                        "{}: parameter '{}' was {} when the optimizer was made and is {} now; make a new optimizer",
                        who_, entry.name, entry.value, leaf.value);
    leaf.rounded = {};
    leaf.value = own_storage(who_, entry.name, leaf.value);
    kernels::copy(leaf.value, entry.value);
    leaf.value.storage().move_into(flats_[entry.flat].value.storage(),
                                   static_cast<size_t>(entry.begin) * dtype_size(entry.value.dtype()));
  }
  if (address(leaf.grad) == address(entry.gradient)) return;
  if (leaf.grad_state == Leaf::GradState::kHeld) kernels::copy(leaf.grad, entry.gradient);
  leaf.grad = entry.gradient;
}

/// What forward passes have rounded to bfloat16 changes with the values: all of it at once, in memory that stays.
void Optimizer::round_again(size_t index) {
  Flat& flat = flats_[index];
  const auto wants = [&](const Entry& entry) {
    return entry.flat == index && entry.leaf->rounded.value.defined() &&
           address(entry.leaf->value) == address(entry.value);
  };
  if (std::none_of(entries_.begin(), entries_.end(), wants)) return;
  if (!flat.rounded.defined()) {
    flat.rounded = Tensor::empty(flat.value.shape(), DType::kBFloat16, flat.value.device());
  }
  kernels::copy(flat.value, flat.rounded);
  for (Entry& entry : entries_) {
    if (!wants(entry)) continue;
    // A storage of its own, as a part of the buffer: what has saved one parameter is not told that another has changed.
    Leaf::Rounded& rounded = entry.leaf->rounded;
    const size_t begin = static_cast<size_t>(entry.begin) * sizeof(bfloat16);
    if (address(rounded.value) != address(flat.rounded) + begin) {
      rounded.value.storage().move_into(flat.rounded.storage(), begin);
    }
    rounded.value.bump_version();
    rounded.from = entry.leaf->value;
    rounded.version = entry.leaf->value.version();
  }
}

}  // namespace attune

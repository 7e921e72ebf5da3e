#include "datasets/loader.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "datasets/hash.h"
#include "datasets/prefetcher.h"
#include "framework/fail.h"

namespace attune {
namespace {

// int64 memory for batch after batch. A tensor that somebody still holds is left alone, and another takes its place.
class ReusedTensor {
 public:
  /// A contiguous view of this shape; at most `capacity` elements over all calls. `last` is the view of the call
  /// before.
  Tensor view(const Shape& shape, int64_t capacity, Tensor& last) {
    last = Tensor();
    if (!memory_.defined() || !memory_.storage().unique()) memory_ = Tensor::empty({capacity}, DType::kInt64);
    return memory_.as_strided(shape, contiguous_strides(shape));
  }

 private:
  Tensor memory_;
};

struct Slot {
  Batch batch;
  ReusedTensor tokens;
  ReusedTensor lengths;
  ReusedTensor labels;
};

}  // namespace

struct Loader::State {
  State(LabelledSequences sequences, const LoaderOptions& loader_options)
      : data(std::move(sequences)), options(loader_options), plan(data.lengths(), options.batches) {
    require<ValueError>(options.prefetch >= 0, "loader: prefetch is {}, expected 0 or more", options.prefetch);
    const std::array<int64_t, 3> deciding = {options.batches.max_examples, options.batches.max_tokens,
                                             options.batches.shuffle ? 1 : 0};
    position = {options.batches.seed, 0, 0, stable_hash(std::as_bytes(std::span(deciding)), data.fingerprint())};
    making = position;
  }

  // The prefetch thread, when there is one, is the only user of `plan` and `making`.
  bool produce(Slot& slot) {
    if (making.batch == plan.batches()) {
      making.batch = 0;
      plan.arrange(++making.epoch);
    }
    fill(slot, plan.batch(making.batch++));
    return true;
  }

  void fill(Slot& slot, std::span<const int64_t> examples) {
    Batch& batch = slot.batch;
    const auto rows = static_cast<int64_t>(examples.size());
    int64_t longest = 0;
    for (int64_t example : examples) longest = std::max(longest, data.length(example));
    batch.tokens = slot.tokens.view({rows, longest}, plan.most_tokens(), batch.tokens);
    batch.lengths = slot.lengths.view({rows}, plan.most_examples(), batch.lengths);
    batch.labels = slot.labels.view({rows}, plan.most_examples(), batch.labels);
    batch.examples.reserve(static_cast<size_t>(plan.most_examples()));
    batch.examples.assign(examples.begin(), examples.end());
    batch.token_count = 0;
    auto* tokens = batch.tokens.data<int64_t>();
    auto* lengths = batch.lengths.data<int64_t>();
    auto* labels = batch.labels.data<int64_t>();
    for (int64_t row = 0; row < rows; ++row) {
      const std::span<const int64_t> sequence = data.tokens(examples[static_cast<size_t>(row)]);
      int64_t* end = std::copy(sequence.begin(), sequence.end(), tokens + row * longest);
      std::fill(end, tokens + (row + 1) * longest, options.pad);
      lengths[row] = static_cast<int64_t>(sequence.size());
      labels[row] = data.label(examples[static_cast<size_t>(row)]);
      batch.token_count += lengths[row];
    }
  }

  const LabelledSequences data;
  const LoaderOptions options;
  BatchPlan plan;
  DataPosition position;
  DataPosition making;
  std::optional<Prefetcher<Slot>> prefetcher;  // last, so that its thread ends before what it uses
};

Loader::Loader(LabelledSequences data, const LoaderOptions& options)
    : state_(std::make_unique<State>(std::move(data), options)) {}

Loader::~Loader() = default;
Loader::Loader(Loader&&) noexcept = default;
Loader& Loader::operator=(Loader&&) noexcept = default;

int64_t Loader::batches_per_epoch() const { return state_->plan.batches(); }

const LabelledSequences& Loader::data() const { return state_->data; }

const Batch* Loader::next() {
  State& state = *state_;
  if (state.position.batch == batches_per_epoch()) {
    ++state.position.epoch;
    state.position.batch = 0;
    return nullptr;
  }
  if (!state.prefetcher) {
    state.making = state.position;
    state.plan.arrange(state.making.epoch);
    state.prefetcher.emplace(state.options.prefetch, [&state](Slot& slot) { return state.produce(slot); });
  }
  const Slot* slot = state.prefetcher->next();
  ++state.position.batch;
  return &slot->batch;
}

DataPosition Loader::position() const { return state_->position; }

void Loader::seek(const DataPosition& position) {
  State& state = *state_;
  require<ValueError>(position.seed == state.position.seed,
                      "loader: the position was saved with seed {}, this loader has seed {}", position.seed,
                      state.position.seed);
  require<ValueError>(position.fingerprint == state.position.fingerprint,
                      "loader: the position was saved with other data or batch options (fingerprint {:016x}, here "
                      "{:016x}); give the same ones to go on",
                      position.fingerprint, state.position.fingerprint);
  require<ValueError>(position.epoch >= 0 && position.batch >= 0 && position.batch <= batches_per_epoch(),
                      "loader: position epoch {}, batch {} asked for, expected epoch 0 or more, batch 0 to {}",
                      position.epoch, position.batch, batches_per_epoch());
  state.prefetcher.reset();
  state.position = position;
}

}  // namespace attune

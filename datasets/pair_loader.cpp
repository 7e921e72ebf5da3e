#include "datasets/pair_loader.h"

#include <algorithm>
#include <utility>

#include "datasets/batch_source.h"

namespace attune {
namespace {

struct PairSlot {
  PairBatch batch;
  ReusedTensor source;
  ReusedTensor source_lengths;
  ReusedTensor target_in;
  ReusedTensor target_out;
  ReusedTensor target_lengths;
};

/// What a decoder reads of the targets: all but the last token.
std::vector<int64_t> steps(const Sequences& targets) {
  std::vector<int64_t> lengths = targets.lengths();
  for (size_t i = 0; i < lengths.size(); ++i) {
    require<ValueError>(lengths[i] > 0, "loader: the target of pair {} has no tokens, expected <bos> ... <eos>", i);
    --lengths[i];
  }
  return lengths;
}

}  // namespace

struct PairLoader::State {
  State(SequencePairs pairs, const LoaderOptions& options, PairReadings how)
      : data(std::move(pairs)),
        pad(options.pad),
        seed(options.batches.seed),
        readings(std::move(how)),
        batches(BatchPlan(data.source.lengths(), steps(data.target), options.batches), data.fingerprint(), options,
                [this](PairSlot& slot, std::span<const int64_t> examples, int64_t epoch) {
                  repeat(examples, slot.batch.examples);
                  if (!readings.source && !readings.target) return fill(slot, data, slot.batch.examples);
                  read(examples, epoch);
                  fill(slot, as_read, rows_read);
                }) {
    require<ValueError>(readings.repeats >= 1, "loader: pairs are repeated {} times, expected 1 or more",
                        readings.repeats);
  }

  void repeat(std::span<const int64_t> once, std::vector<int64_t>& all) const {
    all.reserve(static_cast<size_t>(batches.plan().most_examples() * readings.repeats));
    all.clear();
    for (int64_t i = 0; i < readings.repeats; ++i) all.insert(all.end(), once.begin(), once.end());
  }

  /// Pairs of a batch as they are read in this epoch.
  void read(std::span<const int64_t> examples, int64_t epoch) {
    constexpr int kDrawBits = 24;
    as_read.clear();
    rows_read.clear();
    for (const int64_t example : examples) {
      RandomStream random = random_of(seed, epoch, example, kDrawBits);
      const auto add = [&](const Reading& reading, std::span<const int64_t> tokens, Sequences& to) {
        if (!reading) return to.add(tokens);
        scratch.clear();
        reading(tokens, random, scratch);
        to.add(scratch);
      };
      add(readings.source, data.source.tokens(example), as_read.source);
      add(readings.target, data.target.tokens(example), as_read.target);
    }
    const auto once = std::ssize(examples);
    for (int64_t i = 0; i < once * readings.repeats; ++i) rows_read.push_back(i % once);
  }

  /// Puts these pairs into the batch.
  void fill(PairSlot& slot, const SequencePairs& pairs, std::span<const int64_t> examples) const {
    PairBatch& batch = slot.batch;
    const auto rows = static_cast<int64_t>(examples.size());
    int64_t source_length = 0;
    int64_t target_length = 0;
    for (int64_t example : examples) {
      source_length = std::max(source_length, pairs.source.length(example));
      target_length = std::max(target_length, pairs.target.length(example) - 1);
    }
    const int64_t most_tokens = batches.plan().most_tokens() * readings.repeats;
    const int64_t most_rows = batches.plan().most_examples() * readings.repeats;
    batch.source = slot.source.view({rows, source_length}, most_tokens, batch.source);
    batch.source_lengths = slot.source_lengths.view({rows}, most_rows, batch.source_lengths);
    batch.target_in = slot.target_in.view({rows, target_length}, most_tokens, batch.target_in);
    batch.target_out = slot.target_out.view({rows, target_length}, most_tokens, batch.target_out);
    batch.target_lengths = slot.target_lengths.view({rows}, most_rows, batch.target_lengths);
    batch.source_tokens = fill_padded(
        examples, source_length, pad, [&](int64_t example) { return pairs.source.tokens(example); },
        batch.source.data<int64_t>(), batch.source_lengths.data<int64_t>());
    batch.target_tokens =
        fill_teacher_forcing(examples, target_length, pad, pairs.target, batch.target_in.data<int64_t>(),
                             batch.target_out.data<int64_t>(), batch.target_lengths.data<int64_t>());
  }

  const SequencePairs data;
  const int64_t pad;
  const uint64_t seed;
  const PairReadings readings;
  // Of the thread that makes batches.
  SequencePairs as_read;
  std::vector<int64_t> rows_read;
  std::vector<int64_t> scratch;
  BatchSource<PairSlot> batches;
};

PairLoader::PairLoader(SequencePairs data, const LoaderOptions& options, PairReadings readings)
    : state_(std::make_unique<State>(std::move(data), options, std::move(readings))) {}

PairLoader::~PairLoader() = default;
PairLoader::PairLoader(PairLoader&&) noexcept = default;
PairLoader& PairLoader::operator=(PairLoader&&) noexcept = default;

int64_t PairLoader::batches_per_epoch() const { return state_->batches.plan().batches(); }

const SequencePairs& PairLoader::data() const { return state_->data; }

const PairBatch* PairLoader::next() {
  const PairSlot* slot = state_->batches.next();
  return slot == nullptr ? nullptr : &slot->batch;
}

DataPosition PairLoader::position() const { return state_->batches.position(); }

void PairLoader::seek(const DataPosition& position) { state_->batches.seek(position); }

}  // namespace attune

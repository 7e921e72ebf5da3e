#include "datasets/caption_loader.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>
#include <utility>

#include "datasets/batch_source.h"

namespace attune {
namespace {

struct CaptionSlot {
  CaptionBatch batch;
  ReusedTensor pictures{DType::kFloat32};
  ReusedTensor picture_of;
  ReusedTensor target_in;
  ReusedTensor target_out;
  ReusedTensor target_lengths;
};

/// Captions begin ... end - 1 of the data, all about one picture.
struct Group {
  int64_t begin;
  int64_t end;
};

/// Runs f(begin, end) over parts of 0 ... n - 1, one in each of so many threads; rethrows what one of them threw.
template <class F>
void in_threads(int threads, int64_t n, const F& f) {
  const int64_t parts = std::min<int64_t>(threads, n);
  std::vector<std::exception_ptr> errors(static_cast<size_t>(parts));
  const auto run = [&](int64_t part) {
    try {
      f(n * part / parts, n * (part + 1) / parts);
    } catch (...) {
      errors[static_cast<size_t>(part)] = std::current_exception();
    }
  };
  std::vector<std::jthread> others;
  for (int64_t part = 1; part < parts; ++part) others.emplace_back(run, part);
  run(0);
  others.clear();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

constexpr int kDrawBits = 8;  // of how many random numbers change a picture

uint64_t hash_of(std::span<const int64_t> values, uint64_t seed) { return stable_hash(std::as_bytes(values), seed); }

}  // namespace

struct CaptionLoader::State {
  State(EncodedCaptions captions, std::shared_ptr<const PictureStore> store, const CaptionLoaderOptions& asked)
      : data(std::move(captions)),
        pictures(std::move(store)),
        options(asked),
        groups(make_groups()),
        batches(BatchPlan(group_lengths(), options.loader.batches), fingerprint(), options.loader,
                [this](CaptionSlot& slot, std::span<const int64_t> examples, int64_t epoch) {
                  fill(slot, examples, epoch);
                }) {}

  std::vector<Group> make_groups() {
    require<ValueError>(pictures != nullptr, "caption loader: no pictures given");
    require<ValueError>(options.captions_per_picture > 0 && options.threads > 0,
                        "caption loader: {} captions per picture and {} threads asked for, expected at least 1 of each",
                        options.captions_per_picture, options.threads);
    check(options.augmentation);
    std::vector<Group> made;
    const int64_t count = data.captions.size();
    for (int64_t begin = 0, end = 0; begin < count; begin = end) {
      const int64_t picture = picture_number(begin);
      require<ValueError>(picture >= 0 && picture < pictures->size(),
                          "caption loader: caption {} is about picture {}, expected 0 to {}", begin, picture,
                          pictures->size() - 1);
      require<ValueError>(data.captions.length(begin) > 0,
                          "caption loader: caption {} has no tokens, expected <bos> ... <eos>", begin);
      const bool readable = pictures->readable(picture);
      for (end = begin; end < count && end - begin < options.captions_per_picture && picture_number(end) == picture;) {
        ++end;
      }
      if (readable) made.push_back({begin, end});
      if (!readable) left_out += end - begin;
    }
    return made;
  }

  std::vector<int64_t> group_lengths() const {
    std::vector<int64_t> lengths;
    for (const Group& group : groups) lengths.push_back(steps(group));
    return lengths;
  }

  /// Of the longest caption, as the decoder sees it.
  int64_t steps(const Group& group) const {
    int64_t longest = 0;
    for (int64_t i = group.begin; i < group.end; ++i) longest = std::max(longest, data.captions.length(i) - 1);
    return longest;
  }

  uint64_t fingerprint() const {
    const ImageAugmentation& change = options.augmentation;
    const double settings[] = {change.min_area,   change.max_stretch, change.flip,
                               change.brightness, change.contrast,    change.saturation};
    const int64_t extents[] = {pictures->height(), pictures->width(), options.captions_per_picture, left_out};
    uint64_t hash = data.captions.fingerprint(hash_of(data.pictures, hash_of(extents, 0)));
    hash = stable_hash(std::as_bytes(std::span(settings)), hash);
    hash = stable_hash(std::as_bytes(std::span(options.normalisation.mean)), hash);
    return stable_hash(std::as_bytes(std::span(options.normalisation.stddev)), hash);
  }

  int64_t picture_number(int64_t caption) const { return data.pictures[static_cast<size_t>(caption)]; }

  void fill(CaptionSlot& slot, std::span<const int64_t> examples, int64_t epoch) const {
    fill_captions(slot, examples);
    fill_pictures(slot, examples, epoch);
  }

  void fill_captions(CaptionSlot& slot, std::span<const int64_t> examples) const {
    CaptionBatch& batch = slot.batch;
    std::vector<int64_t>& rows = batch.examples;
    rows.clear();
    rows.reserve(static_cast<size_t>(most_rows()));
    int64_t longest = 0;
    for (int64_t example : examples) {
      const Group& group = groups[static_cast<size_t>(example)];
      for (int64_t caption = group.begin; caption < group.end; ++caption) rows.push_back(caption);
      longest = std::max(longest, steps(group));
    }
    const auto count = static_cast<int64_t>(rows.size());
    const int64_t most_tokens = batches.plan().most_tokens() * options.captions_per_picture;
    batch.picture_of = slot.picture_of.view({count}, most_rows(), batch.picture_of);
    batch.target_in = slot.target_in.view({count, longest}, most_tokens, batch.target_in);
    batch.target_out = slot.target_out.view({count, longest}, most_tokens, batch.target_out);
    batch.target_lengths = slot.target_lengths.view({count}, most_rows(), batch.target_lengths);
    auto* picture_of = batch.picture_of.data<int64_t>();
    for (size_t p = 0; p < examples.size(); ++p) {
      const Group& group = groups[static_cast<size_t>(examples[p])];
      picture_of = std::fill_n(picture_of, group.end - group.begin, static_cast<int64_t>(p));
    }
    batch.target_tokens =
        fill_teacher_forcing(rows, longest, options.loader.pad, data.captions, batch.target_in.data<int64_t>(),
                             batch.target_out.data<int64_t>(), batch.target_lengths.data<int64_t>());
  }

  void fill_pictures(CaptionSlot& slot, std::span<const int64_t> examples, int64_t epoch) const {
    CaptionBatch& batch = slot.batch;
    const Shape shape{static_cast<int64_t>(examples.size()), pictures->height(), pictures->width(), 3};
    const int64_t elements = shape[1] * shape[2] * shape[3];
    batch.pictures = slot.pictures.view(shape, batches.plan().most_examples() * elements, batch.pictures);
    auto* out = batch.pictures.data<float>();
    in_threads(options.threads, shape[0], [&](int64_t begin, int64_t end) {
      Image scratch;
      for (int64_t row = begin; row < end; ++row) {
        const int64_t caption = groups[static_cast<size_t>(examples[static_cast<size_t>(row)])].begin;
        const Image& picture = pictures->at(picture_number(caption), scratch);
        RandomStream random = random_of(options.loader.batches.seed, epoch, caption, kDrawBits);
        const ImageChange change = draw_change(options.augmentation, picture.height, picture.width, random);
        to_floats(picture, change, options.normalisation, out + row * elements);
      }
    });
  }

  int64_t most_rows() const { return batches.plan().most_examples() * options.captions_per_picture; }

  const EncodedCaptions data;
  const std::shared_ptr<const PictureStore> pictures;
  const CaptionLoaderOptions options;
  int64_t left_out = 0;
  const std::vector<Group> groups;
  double seconds_waited = 0;
  BatchSource<CaptionSlot> batches;
};

CaptionLoader::CaptionLoader(EncodedCaptions captions, std::shared_ptr<const PictureStore> pictures,
                             const CaptionLoaderOptions& options)
    : state_(std::make_unique<State>(std::move(captions), std::move(pictures), options)) {}

CaptionLoader::~CaptionLoader() = default;
CaptionLoader::CaptionLoader(CaptionLoader&&) noexcept = default;
CaptionLoader& CaptionLoader::operator=(CaptionLoader&&) noexcept = default;

int64_t CaptionLoader::batches_per_epoch() const { return state_->batches.plan().batches(); }

const EncodedCaptions& CaptionLoader::data() const { return state_->data; }

int64_t CaptionLoader::left_out() const { return state_->left_out; }

const CaptionBatch* CaptionLoader::next() {
  const auto begin = std::chrono::steady_clock::now();
  const CaptionSlot* slot = state_->batches.next();
  state_->seconds_waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return slot == nullptr ? nullptr : &slot->batch;
}

double CaptionLoader::seconds_waited() const { return state_->seconds_waited; }

DataPosition CaptionLoader::position() const { return state_->batches.position(); }

void CaptionLoader::seek(const DataPosition& position) { state_->batches.seek(position); }

}  // namespace attune

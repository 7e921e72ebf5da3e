#include "examples/captioning/captioner.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "datasets/image_transform.h"
#include "examples/support/interrupts.h"
#include "framework/fail.h"
#include "layers/attention/recorder.h"

namespace attune::examples::captioning {
namespace {

constexpr int64_t kTaughtPictures = 64;  // read together where attention is looked at

/// Pictures [begin, begin + count) of P.
struct Block {
  int64_t begin;
  int64_t count;
};

std::vector<Block> blocks_of(int64_t pictures, int64_t most) {
  std::vector<Block> blocks;
  for (int64_t begin = 0; begin < pictures; begin += most) blocks.push_back({begin, std::min(most, pictures - begin)});
  return blocks;
}

/// Whether a layer of a decoder looks at what it has written rather than at the source.
bool looks_at_itself(std::string_view path) { return path.ends_with(".attn"); }

/// What the last layer looked at in the source, mean over its heads: [B, T, S]; undefined where none looks. A recurrent
/// decoder makes a record with every token: these are one layer's rows.
Tensor last_layer(std::span<const AttentionRecorder::Record> records) {
  std::vector<Variable> rows;  // [B, H, t, S]
  std::string_view layer;
  for (const AttentionRecorder::Record& record : records) {
    if (looks_at_itself(record.path)) continue;
    if (record.path != layer) rows.clear();
    layer = record.path;
    rows.emplace_back(record.weights);
  }
  if (rows.empty()) return {};
  return mean(concat(rows, 2), {1}).value().to(Device::cpu()).to(DType::kFloat32).contiguous();
}

/// <bos> and all tokens but the last, padded: what a decoder reads while it writes the tokens.
Tensor read_before(std::span<const std::vector<int64_t>> captions, size_t longest) {
  std::vector<int64_t> tokens;  // [B, T]
  for (const std::vector<int64_t>& caption : captions) {
    const size_t row = tokens.size();
    tokens.push_back(TextCodec::kBegin);
    if (!caption.empty()) tokens.insert(tokens.end(), caption.begin(), caption.end() - 1);
    tokens.resize(row + longest, TextCodec::kPad);
  }
  return Tensor::from(tokens, {std::ssize(captions), static_cast<int64_t>(longest)});
}

}  // namespace

CaptioningParts parts_of(const Snapshot& snapshot) {
  return {*snapshot.model, *snapshot.codec, snapshot.config.text.max_length};
}

SearchSettings search_settings(const SearchOptions& options) {
  return {.beam = options.beam, .length_penalty = options.length_penalty};
}

Tensor to_tensor(const PictureStore& pictures, std::span<const int64_t> numbers) {
  const auto size = static_cast<size_t>(pictures.height() * pictures.width() * 3);
  std::vector<float> values(numbers.size() * size);
  Image scratch;
  for (size_t i = 0; i < numbers.size(); ++i) {
    to_floats(pictures.at(numbers[i], scratch), ImageColours{}, ImageNormalisation{}, &values[i * size]);
  }
  return Tensor::from(values, {std::ssize(numbers), pictures.height(), pictures.width(), 3});
}

Captioner::Captioner(const CaptioningParts& parts, const SearchSettings& settings)
    : parts_(parts), settings_(settings) {
  require<ValueError>(settings.beam > 0 && settings.best > 0 && settings.best <= settings.beam,
                      "captioner: the best {} of {} hypotheses asked for, expected 1 or more of as many at least",
                      settings.best, settings.beam);
  require<ValueError>(settings.batch_rows > 0, "captioner: batch_rows is {}, expected 1 or more", settings.batch_rows);
}

std::vector<std::vector<Caption>> Captioner::operator()(const PictureStore& pictures,
                                                        std::span<const int64_t> numbers) const {
  std::vector<std::vector<Caption>> captions;
  for (const Block& block : blocks_of(std::ssize(numbers), batch())) {
    const auto part = numbers.subspan(static_cast<size_t>(block.begin), static_cast<size_t>(block.count));
    std::vector<std::vector<Caption>> found = (*this)(to_tensor(pictures, part));
    std::move(found.begin(), found.end(), std::back_inserter(captions));
  }
  return captions;
}

std::vector<std::vector<Caption>> Captioner::operator()(const Tensor& pictures) const {
  const NoGrad no_grad;
  const Evaluating evaluating(parts_.model);
  std::vector<std::vector<Caption>> captions;
  for (const Block& block : blocks_of(pictures.dim(0), batch())) {
    for (std::vector<Hypothesis>& found : search(pictures.slice(0, block.begin, block.begin + block.count))) {
      captions.emplace_back();
      for (Hypothesis& hypothesis : found) {
        captions.back().push_back({.text = parts_.codec.decode(hypothesis.tokens),
                                   .score = hypothesis.score,
                                   .log_probability = hypothesis.log_probability,
                                   .tokens = std::move(hypothesis.tokens)});
      }
    }
  }
  return captions;
}

std::vector<std::vector<Hypothesis>> Captioner::search(const Tensor& pictures) const {
  const std::unique_ptr<Generation> generation =
      interruptible(parts_.model.decoder().start(parts_.model.read(pictures), {.capacity = parts_.max_length}));
  const DecodingOptions options{.bos = TextCodec::kBegin,
                                .eos = TextCodec::kEnd,
                                .forbidden = {TextCodec::kPad, TextCodec::kUnknown},
                                .max_length = {parts_.max_length}};
  if (settings_.beam == 1) return greedy_search(*generation, options);
  return beam_search(*generation, options,
                     {.width = settings_.beam,
                      .n_best = settings_.best,
                      .length_penalty = LengthPenalty::kPower,
                      .alpha = settings_.length_penalty});
}

std::vector<Tensor> Captioner::attention(const Tensor& pictures, std::span<const std::vector<int64_t>> captions) const {
  require<ShapeError>(pictures.dim(0) == std::ssize(captions),
                      "captioner: attention of {} captions about {} pictures asked for, expected one about each",
                      captions.size(), pictures.dim(0));
  const NoGrad no_grad;
  const Evaluating evaluating(parts_.model);
  std::vector<Tensor> looked;
  for (const Block& block : blocks_of(pictures.dim(0), kTaughtPictures)) {
    const auto part = captions.subspan(static_cast<size_t>(block.begin), static_cast<size_t>(block.count));
    size_t longest = 1;
    for (const std::vector<int64_t>& caption : part) longest = std::max(longest, caption.size());
    const EncoderOutput source = parts_.model.read(pictures.slice(0, block.begin, block.begin + block.count));
    AttentionRecorder recorder(parts_.model.decoder());
    parts_.model.decoder()(source, read_before(part, longest));
    const Tensor weights = last_layer(recorder.records());  // [B, T, S]
    for (int64_t b = 0; b < block.count; ++b) {
      const auto words = std::ssize(part[static_cast<size_t>(b)]);
      looked.push_back(weights.defined() ? weights.select(0, b).slice(0, 0, words) : Tensor());
    }
  }
  return looked;
}

}  // namespace attune::examples::captioning

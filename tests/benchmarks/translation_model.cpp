#include "tests/benchmarks/translation_model.h"

#include <fmt/format.h>

#include "framework/random.h"
#include "tests/benchmarks/operations.h"

namespace attune::bench {
namespace {

double transformer(const TranslationShape& shape) {
  const int64_t d = shape.model.dim;
  const int64_t f = shape.model.ffn_dim;
  const int64_t sources = shape.batch * shape.source;
  const int64_t targets = shape.batch * shape.target;
  const auto feed_forward = [&](int64_t rows) { return product(rows, d, f) + product(rows, f, d); };
  const double encoder =
      product(sources, d, 4 * d) + attended(sources, shape.source, d) + feed_forward(sources);  // Q, K, V, output
  const double decoder = product(targets, d, 4 * d) + attended(targets, shape.target, d) + product(targets, d, 2 * d) +
                         product(sources, d, 2 * d) +  // Q, output; K, V of the memory
                         attended(targets, shape.source, d) + feed_forward(targets);
  return static_cast<double>(shape.model.encoder_blocks) * encoder +
         static_cast<double>(shape.model.decoder_blocks) * decoder;
}

/// GRU: three gates of the input and of the state.
double gru(int64_t rows, int64_t in, int64_t state) { return product(rows, in + state, 3 * state); }

/// Embeddings D wide, states of the decoder and of both directions of the encoder together H, scores as well.
double recurrent(const TranslationShape& shape) {
  const int64_t d = shape.model.dim;
  const int64_t h = shape.model.hidden;
  const int64_t sources = shape.batch * shape.source;
  const int64_t targets = shape.batch * shape.target;
  const double encoder = 2 * gru(sources, d, h / 2) + product(sources, h, h) + product(shape.batch, h, h);
  const double attention = product(targets, h, h) + attended(targets, shape.source, h);
  return encoder + attention + gru(targets, d + h, h) + product(targets, h + h + d, d);
}

}  // namespace

double TranslationShape::forward_operations() const {
  return (recurrent() ? bench::recurrent(*this) : transformer(*this)) +
         product(batch * target, model.dim, target_vocabulary);
}

std::vector<std::string> TranslationShape::arguments() const {
  std::vector<std::string> words = {"--model", recurrent() ? "recurrent" : "transformer", "--dropout",
                                    fmt::format("{}", model.dropout)};
  const std::pair<const char*, int64_t> sizes[] = {{"--batch", batch},
                                                   {"--source", source},
                                                   {"--target", target},
                                                   {"--dim", model.dim},
                                                   {"--hidden", model.hidden},
                                                   {"--heads", model.heads},
                                                   {"--blocks", model.encoder_blocks},
                                                   {"--ffn", model.ffn_dim},
                                                   {"--source-vocabulary", source_vocabulary},
                                                   {"--target-vocabulary", target_vocabulary}};
  for (const auto& [option, value] : sizes) words.insert(words.end(), {option, std::to_string(value)});
  if (model.sharing == "all") words.emplace_back("--shared");
  return words;
}

std::vector<TranslationShape> translation_shapes() {
  return {
      {.name = "tiny", .model = {.dim = 128, .encoder_blocks = 4, .decoder_blocks = 4, .heads = 4, .ffn_dim = 256}},
      {.name = "small",
       .model = {.dim = 256, .sharing = "target", .encoder_blocks = 3, .decoder_blocks = 3, .heads = 8, .ffn_dim = 512},
       .source = 25,
       .target = 25,
       .source_vocabulary = 7854,
       .target_vocabulary = 5893},
      {.name = "recurrent",
       .model = {.kind = "recurrent", .dim = 256, .sharing = "none", .attention = "additive"},
       .batch = 64,
       .source = 25,
       .target = 25,
       .source_vocabulary = 7854,
       .target_vocabulary = 5893}};
}

TranslationBatch translation_batch(const TranslationShape& shape) {
  RandomStream random(1);
  const auto draw = [&](int64_t count, int64_t low, int64_t high) {
    std::vector<int64_t> values;
    for (int64_t i = 0; i < count; ++i) {
      values.push_back(low + static_cast<int64_t>(random.below(static_cast<uint64_t>(high - low))));
    }
    return values;
  };
  constexpr int64_t kFirstWord = 4;  // after <pad>, <unk>, <bos>, <eos>
  std::vector<int64_t> lengths =
      draw(shape.batch, shape.recurrent() ? shape.source : shape.source / 2, shape.source + 1);
  lengths.front() = shape.source;
  const int64_t targets = shape.batch * shape.target;
  return {
      Tensor::from(draw(shape.batch * shape.source, kFirstWord, shape.source_vocabulary), {shape.batch, shape.source}),
      Tensor::from(lengths, {shape.batch}),
      Tensor::from(draw(targets, kFirstWord, shape.target_vocabulary), {shape.batch, shape.target}),
      Tensor::from(draw(targets, kFirstWord, shape.target_vocabulary), {shape.batch, shape.target})};
}

}  // namespace attune::bench

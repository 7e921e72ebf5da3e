#include "tests/benchmarks/captioning_model.h"

#include <fmt/format.h>

#include <numeric>
#include <utility>

#include "framework/random.h"
#include "tests/benchmarks/operations.h"

namespace attune::bench {
namespace {

/// What an encoder takes, and what it hands to a decoder.
struct Encoding {
  double operations = 0;
  double first = 0;  // of them by the layer that reads the pictures
  int64_t regions = 0;
  int64_t dim = 0;
};

/// Pixels of all pictures, `side` x `side` each.
int64_t pixels(const CaptioningShape& shape, int64_t side) { return shape.batch * side * side; }

Encoding conv_encoder(const CaptioningShape& shape) {
  int64_t side = shape.image_size / 2;
  int64_t in = shape.model.stem;
  Encoding encoding;
  encoding.first = encoding.operations = product(pixels(shape, side), 16 * 3, in);
  for (int64_t stage = 0; stage < shape.model.stages; ++stage) {
    const int64_t out = shape.model.channels << stage;
    side /= 2;  // pooling
    const int64_t rows = pixels(shape, side);
    for (int64_t block = 0; block < shape.model.stage_blocks; ++block) {
      encoding.operations += product(rows, 9 * in, out) + product(rows, 9 * out, out);
      if (in != out) encoding.operations += product(rows, in, out);
      in = out;
    }
  }
  encoding.regions = side * side;
  encoding.dim = in;
  return encoding;
}

Encoding patch_encoder(const CaptioningShape& shape) {
  const int64_t d = shape.model.dim;
  const int64_t patch = shape.model.patch;
  int64_t side = shape.image_size / patch;
  Encoding encoding{.operations = 0, .first = 0, .regions = side * side, .dim = d};
  const int64_t rows = pixels(shape, side);
  if (shape.model.patch_stem == "linear") {
    encoding.first = encoding.operations = product(rows, patch * patch * 3, d);
  } else {
    encoding.operations = product(rows, d, d);
    for (int64_t out = d; side < shape.image_size; out /= 2) {
      const bool first = side * 2 == shape.image_size;
      const double convolution = product(pixels(shape, side), 16 * (first ? 3 : out / 2), out);
      if (first) encoding.first = convolution;
      encoding.operations += convolution;
      side *= 2;
    }
  }
  const double block = product(rows, d, 4 * d) + attended(rows, encoding.regions, d) +  // Q, K, V, output
                       2 * product(rows, d, shape.model.ffn_dim);
  encoding.operations += static_cast<double>(shape.model.encoder_blocks) * block;
  return encoding;
}

Encoding encoder(const CaptioningShape& shape) {
  return shape.model.encoder == "conv" ? conv_encoder(shape) : patch_encoder(shape);
}

double transformer_decoder(const CaptioningShape& shape, const Encoding& source) {
  const int64_t d = shape.model.dim;
  const int64_t rows = shape.batch * shape.tokens;
  const double block = product(rows, d, 4 * d) + attended(rows, shape.tokens, d) + product(rows, d, 2 * d) +
                       product(shape.batch * source.regions, source.dim, 2 * d) +  // Q, output; K, V of the regions
                       attended(rows, source.regions, d) + 2 * product(rows, d, shape.model.ffn_dim);
  return static_cast<double>(shape.model.decoder_blocks) * block;
}

double recurrent_decoder(const CaptioningShape& shape, const Encoding& source) {
  const int64_t d = shape.model.dim;
  const int64_t h = shape.model.hidden;
  const int64_t a = shape.model.attention_hidden;
  const int64_t m = source.dim;
  const int64_t gates = shape.model.cell == "lstm" ? 4 : 3;
  const int64_t states = shape.model.cell == "lstm" ? 2 : 1;
  const int64_t rows = shape.batch * shape.tokens;
  const double attention = product(shape.batch * source.regions, m, a) + product(rows, h, a + 1) +  // keys; query, gate
                           product(rows * source.regions, a, 1) + product(rows, source.regions, m);
  return product(shape.batch, m, states * h) + attention + product(rows, d + m + h, gates * h) +
         product(rows, h + m + d, d);
}

}  // namespace

CaptioningShape CaptioningShape::with_dropout(double dropout) const {
  CaptioningShape shape = *this;
  shape.model.dropout = shape.model.encoder_dropout = dropout;
  return shape;
}

examples::captioning::ModelExtents CaptioningShape::extents() const {
  return {.image_size = image_size, .vocabulary = vocabulary, .max_length = 64};
}

double CaptioningShape::forward_operations() const {
  const Encoding source = encoder(*this);
  const double decoder =
      model.decoder == "transformer" ? transformer_decoder(*this, source) : recurrent_decoder(*this, source);
  return source.operations + decoder + product(batch * tokens, model.dim, vocabulary);
}

double CaptioningShape::step_operations() const { return 3 * forward_operations() - encoder(*this).first; }

std::vector<std::string> CaptioningShape::arguments() const {
  std::vector<std::string> words = {"--encoder",         model.encoder,
                                    "--decoder",         model.decoder,
                                    "--patch-stem",      model.patch_stem,
                                    "--encoder-dropout", fmt::format("{}", model.encoder_dropout),
                                    "--dropout",         fmt::format("{}", model.dropout)};
  const std::pair<const char*, int64_t> sizes[] = {{"--batch", batch},
                                                   {"--target", tokens},
                                                   {"--vocabulary", vocabulary},
                                                   {"--image-size", image_size},
                                                   {"--stem", model.stem},
                                                   {"--channels", model.channels},
                                                   {"--stages", model.stages},
                                                   {"--stage-blocks", model.stage_blocks},
                                                   {"--patch", model.patch},
                                                   {"--encoder-blocks", model.encoder_blocks},
                                                   {"--dim", model.dim},
                                                   {"--heads", model.heads},
                                                   {"--ffn", model.ffn_dim},
                                                   {"--decoder-blocks", model.decoder_blocks},
                                                   {"--attention-hidden", model.attention_hidden},
                                                   {"--hidden", model.hidden}};
  for (const auto& [option, value] : sizes) words.insert(words.end(), {option, std::to_string(value)});
  return words;
}

std::vector<CaptioningShape> captioning_shapes() {
  const examples::captioning::ModelConfig patch{
      .encoder = "patch", .decoder = "transformer", .patch_stem = "linear", .encoder_blocks = 4, .decoder_blocks = 3};
  examples::captioning::ModelConfig behind_convolutions = patch;
  behind_convolutions.patch_stem = "convolutions";
  return {{.part = "patch", .name = "patch Transformer", .model = patch},
          {.part = "patch", .name = "patch Transformer behind convolutions", .model = behind_convolutions},
          {.part = "conv",
           .name = "convolutions, LSTM with soft attention",
           .model = {.encoder = "conv", .decoder = "recurrent", .attention = "soft-image", .cell = "lstm"}}};
}

CaptioningSample captioning_sample(const CaptioningShape& shape) {
  RandomStream random(1);
  const auto draw = [&] {
    constexpr int64_t kFirstWord = 4;  // after <pad>, <unk>, <bos>, <eos>
    std::vector<int64_t> words;
    for (int64_t i = 0; i < shape.batch * shape.tokens; ++i) {
      words.push_back(kFirstWord + static_cast<int64_t>(random.below(static_cast<uint64_t>(shape.vocabulary - 4))));
    }
    return Tensor::from(words, {shape.batch, shape.tokens});
  };
  std::vector<int64_t> numbers(static_cast<size_t>(shape.batch));
  std::iota(numbers.begin(), numbers.end(), int64_t{0});
  return {random.normal({shape.batch, shape.image_size, shape.image_size, 3}, 0, 1),
          Tensor::from(numbers, {shape.batch}), draw(), draw()};
}

}  // namespace attune::bench

#include "layers/seq2seq/transformer_text.h"

#include <catch2/catch_approx.hpp>

#include <cmath>
#include <set>
#include <string>

#include "framework/checkpoint.h"
#include "framework/error.h"
#include "tests/layers/seq2seq/text_models.h"
#include "tests/support/errors.h"
#include "tests/support/parameters.h"
#include "tests/support/paths.h"

using namespace attune;
using namespace attune::testing;

namespace {

using Model = TextModel<TransformerTextEncoder, TransformerTextDecoder>;

struct Sizes {
  int64_t vocabulary = 7;
  int64_t dim = 8;
  int64_t heads = 2;
  int64_t blocks = 2;
  int64_t ffn_dim = 6;
  bool norm_first = false;
  TextPositions positions = TextPositions::kSinusoidal;
  bool share = true;
  int64_t max_length = 16;
};

Model make(const Sizes& s) {
  const TextEmbeddingOptions embedding{.positions = s.positions, .max_length = s.max_length, .dropout = 0};
  TransformerTextEncoderOptions encoder{.vocabulary = s.vocabulary, .embedding = embedding};
  TransformerTextDecoderOptions decoder{
      .vocabulary = s.vocabulary, .embedding = embedding, .share_head = s.share, .head_bias = !s.share};
  encoder.encoder = {.blocks = s.blocks,
                     .block = {.dim = s.dim,
                               .heads = s.heads,
                               .ffn_dim = s.ffn_dim,
                               .dropout = 0,
                               .activation = Activation::kGelu,
                               .norm_first = s.norm_first}};
  decoder.decoder = {.blocks = s.blocks,
                     .block = {.dim = s.dim,
                               .heads = s.heads,
                               .ffn_dim = s.ffn_dim,
                               .dropout = 0,
                               .activation = Activation::kGelu,
                               .norm_first = s.norm_first}};
  if (s.positions == TextPositions::kNone)
    encoder.encoder.block.positions = decoder.decoder.block.positions = RotaryOptions{};
  return Model(encoder, decoder, s.share);
}

const Sizes kVariants[] = {{.norm_first = false},
                           {.norm_first = true, .share = false},
                           {.norm_first = true, .positions = TextPositions::kLearned},
                           {.norm_first = false, .positions = TextPositions::kNone}};

}  // namespace

TEST_CASE("a Transformer writes step by step what teacher forcing says", "[layers][seq2seq]") {
  for (const Sizes& sizes : kVariants) {
    INFO("norm_first " << sizes.norm_first << ", positions " << static_cast<int>(sizes.positions));
    Model wide = make(sizes), narrow = make(sizes);
    check_generation(wide, DType::kFloat64, 1e-12);
    check_generation(narrow, DType::kFloat32, 1e-5);
  }
}

TEST_CASE("a Transformer's generation tells where it looked", "[layers][seq2seq]") {
  Model model = make({.norm_first = true});
  randomise(model);
  model.eval();
  const EncoderOutput source = model.encoder(source_ids(), source_lengths());
  auto generation = model.decoder.start(source, {.attention = true});
  CHECK_FALSE(generation->attention().defined());
  generation->step(column(target_ids(), 0));
  for (int64_t b = 0; b < 3; ++b) {
    double sum = 0;
    for (double w : values(generation->attention().select(0, b))) sum += w;
    CHECK(sum == Catch::Approx(1).epsilon(1e-5));
  }
  auto silent = model.decoder.start(source);
  silent->step(column(target_ids(), 0));
  CHECK_FALSE(silent->attention().defined());
  Tape::current().clear();
}

TEST_CASE("Transformer text models have right gradients", "[layers][seq2seq][gradcheck]") {
  for (Sizes sizes : kVariants) {
    INFO("norm_first " << sizes.norm_first << ", positions " << static_cast<int>(sizes.positions));
    sizes.blocks = 1;
    Model model = make(sizes);
    check_text_gradients(model);
  }
}

TEST_CASE("a Transformer learns 8 pairs by heart", "[layers][seq2seq]") {
  manual_seed(1);
  Model model = make({.dim = 16, .blocks = 1, .ffn_dim = 16, .norm_first = true});
  check_overfitting(model, 120);
}

TEST_CASE("one table serves source, target and output", "[layers][seq2seq]") {
  manual_seed(3);
  Model model = make({.vocabulary = 10000, .dim = 128, .heads = 4, .blocks = 4, .ffn_dim = 256});
  CHECK(model.parameter_count() == 10000 * 128 + 4 * 132480 + 4 * 198784);  // 2.6 million
  std::set<std::string> names;
  const Tensor table = model.encoder.embedding().table().value();
  for (const auto& [name, tensor] : model.state_dict()) {
    if (same_memory(tensor, table)) names.insert(name);
  }
  CHECK(names == std::set<std::string>{"encoder.embedding.tokens.weight", "decoder.embedding.tokens.weight",
                                       "decoder.head.weight"});
  double square = 0;
  for (double x : values(table)) square += x * x;
  CHECK(std::sqrt(square / 1280000) == Catch::Approx(1 / std::sqrt(128.0)).epsilon(0.01));
  CHECK(make({.share = false}).parameter_count() == make({.share = true}).parameter_count() + 2 * 7 * 8 + 7);
}

TEST_CASE("a Transformer is saved and loaded with its shared table", "[layers][seq2seq]") {
  const TemporaryDirectory folder;
  Model model = make({}), other = make({});
  model.eval();
  other.eval();
  randomise(model, 4);
  Checkpoint checkpoint;
  checkpoint.put_tensors("model", model.state_dict());
  checkpoint.save(folder / "model.h5");
  other.load_state_dict(Checkpoint::load(folder / "model.h5").tensors("model"));
  const NoGrad values_only;
  const auto logits = [](Model& m) { return m(source_ids(), source_lengths(), target_ids()).value(); };
  CHECK(same_values(logits(model), logits(other)));
}

TEST_CASE("Transformer text models name what does not fit", "[layers][seq2seq][errors]") {
  Model model = make({.max_length = 5});
  const EncoderOutput source = model.encoder(source_ids(), source_lengths());
  CHECK(error_text<ValueError>([&] { model.decoder.start(source); }) ==
        "decoder: start() in training mode; call eval() first");
  model.eval();
  auto generation = model.decoder.start(source);
  CHECK(error_text<ShapeError>([&] {
          generation->step(ids({1, 2}, {2}));
        }) == "decoder: tokens of a step are [2], expected [3]");
  CHECK_THROWS_AS(generation->step(ids({1, 7, 2}, {3})), ValueError);
  CHECK_THROWS_AS(generation->select(ids({3}, {1})), ValueError);
  CHECK(error_text<ShapeError>([&] {
          model.encoder(ids({1, 2}, {2}), ids({1}, {1}));
        }) == "encoder.embedding: tokens are [2], expected [B, T]");
  CHECK(error_text<ShapeError>([&] {
          model.encoder(ids({1, 2, 1, 2, 1, 2}, {1, 6}), ids({6}, {1}));
        }).starts_with("encoder.embedding.positions: positions 0 ... 5"));
  CHECK(error_text<ValueError>([&] {
          TransformerTextDecoder({.vocabulary = 6, .decoder = {.block = {.dim = 8}}},
                                 model.encoder.embedding().table());
        }) == "TransformerTextDecoder: the table to share is [7, 8], expected [vocabulary, dim] = [6, 8]");
  CHECK_THROWS_AS(TransformerTextEncoder({}), ValueError);
  Tape::current().clear();
}

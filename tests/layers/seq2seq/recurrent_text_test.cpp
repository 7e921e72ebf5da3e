#include "layers/seq2seq/recurrent_text.h"

#include <string>

#include "framework/error.h"
#include "layers/attention/recorder.h"
#include "tests/layers/seq2seq/text_models.h"
#include "tests/support/errors.h"
#include "tests/support/parameters.h"

using namespace attune;
using namespace attune::testing;

namespace {

using Model = TextModel<RecurrentTextEncoder, RecurrentTextDecoder>;

constexpr const char* kNone = "none";

struct Kind {
  std::string attention = "additive";
  RecurrentForm form = RecurrentForm::kBahdanau;
  RecurrentCell cell = RecurrentCell::kGru;
  int64_t layers = 1;
  bool share = false;
  int64_t memory = 0;  // width of the source's states; 0: as those of the decoder, as products of both need
};

Model make(const Kind& kind, int64_t dim = 3, int64_t hidden = 4) {
  const int64_t memory = kind.memory == 0 ? hidden : kind.memory;
  RecurrentTextDecoderOptions decoder{.vocabulary = 7,
                                      .memory_dim = memory,
                                      .dim = dim,
                                      .hidden = hidden,
                                      .cell = kind.cell,
                                      .layers = kind.layers,
                                      .form = kind.form,
                                      .attention = {},
                                      .dropout = 0,
                                      .share_head = kind.share};
  if (kind.attention != kNone) {
    decoder.attention = attention_config(kind.attention);
    decoder.attention->window = 2;
  }
  return Model(
      RecurrentTextEncoderOptions{
          .vocabulary = 7, .dim = dim, .hidden = memory / 2, .cell = kind.cell, .layers = kind.layers, .dropout = 0},
      decoder, kind.share);
}

/// Every attention in both forms, and the rest once.
std::vector<Kind> kinds() {
  std::vector<Kind> all;
  for (const std::string& name : attention_names()) {
    const bool odd = all.size() % 2 == 1;
    all.push_back({.attention = name, .form = odd ? RecurrentForm::kLuong : RecurrentForm::kBahdanau});
  }
  all.push_back({.form = RecurrentForm::kLuong, .layers = 2, .share = true, .memory = 6});
  all.push_back({.cell = RecurrentCell::kLstm, .layers = 2, .share = true, .memory = 2});
  all.push_back({.attention = kNone, .memory = 6});
  all.push_back({.attention = kNone, .form = RecurrentForm::kLuong, .cell = RecurrentCell::kLstm, .layers = 2});
  return all;
}

std::string named(const Kind& kind) {
  return kind.attention + (kind.form == RecurrentForm::kLuong ? ", Luong's form" : ", Bahdanau's form") +
         (kind.cell == RecurrentCell::kLstm ? ", LSTM" : ", GRU");
}

}  // namespace

TEST_CASE("a recurrent decoder writes step by step what teacher forcing says", "[layers][seq2seq]") {
  for (const Kind& kind : kinds()) {
    INFO(named(kind));
    Model wide = make(kind), narrow = make(kind);
    check_generation(wide, DType::kFloat64, 1e-12);
    check_generation(narrow, DType::kFloat32, 1e-5);
  }
}

TEST_CASE("recurrent text models have right gradients with every attention", "[layers][seq2seq][gradcheck]") {
  for (const Kind& kind : kinds()) {
    if (kind.attention == "hard-image") continue;  // chooses
    INFO(named(kind));
    Model model = make(kind);
    check_text_gradients(model);
  }
}

TEST_CASE("recurrent decoders learn 8 pairs by heart", "[layers][seq2seq]") {
  for (const Kind& kind : {Kind{}, Kind{.attention = "general", .form = RecurrentForm::kLuong}}) {
    INFO(named(kind));
    manual_seed(1);
    Model model = make(kind, 16, 24);
    check_overfitting(model, 150);
  }
}

TEST_CASE("without attention a decoder sees the source's summary only", "[layers][seq2seq]") {
  Model model = make({.attention = kNone, .layers = 2});
  model.eval();
  const NoGrad values_only;
  const EncoderOutput source = model.encoder(source_ids(), source_lengths());
  const auto logits = [&](const EncoderOutput& from) { return model.decoder(from, target_ids()).value(); };
  const EncoderOutput summary{
      .states = Variable(Tensor::zeros(source.states.shape())), .lengths = source.lengths, .summary = source.summary};
  CHECK(same_values(logits(source), logits(summary)));
  // The last layer's: the state of the first direction behind the last token, and that of the second one behind the
  // first.
  const Tensor states = source.states.value();
  CHECK(
      same_values(source.summary.value().select(0, 1).slice(0, 0, 2), states.select(0, 1).select(0, 1).slice(0, 0, 2)));
  CHECK(
      same_values(source.summary.value().select(0, 1).slice(0, 2, 4), states.select(0, 1).select(0, 0).slice(0, 2, 4)));
  // By itself the mean of the states.
  const EncoderOutput plain{.states = source.states, .lengths = source.lengths};
  const EncoderOutput mean{
      .states = source.states, .lengths = source.lengths, .summary = masked_mean(source.states, source.lengths)};
  CHECK(same_values(logits(plain), logits(mean)));
  CHECK_FALSE(same_values(logits(plain), logits(source)));
}

TEST_CASE("what a recurrent decoder looks at is recorded", "[layers][seq2seq]") {
  Model model = make({});
  model.eval();
  const NoGrad values_only;
  const EncoderOutput source = model.encoder(source_ids(), source_lengths());
  AttentionRecorder recorder(model);
  model.decoder(source, target_ids());
  REQUIRE(recorder.records().size() == 4);
  auto generation = model.decoder.start(source, {.attention = true});
  for (int64_t t = 0; t < 4; ++t) {
    generation->step(column(target_ids(), t));
    const Tensor recorded = recorder.records()[static_cast<size_t>(t)].weights;  // [B, 1, 1, S]
    CHECK(max_difference(generation->attention(), recorded.select(2, 0).select(1, 0)) < 1e-6);
  }
}

TEST_CASE("recurrent text models name what does not fit", "[layers][seq2seq][errors]") {
  Model model = make({});
  EncoderOutput source = model.encoder(source_ids(), source_lengths());
  CHECK(error_text<ValueError>([&] { model.decoder.start(source); }) ==
        "decoder: start() in training mode; call eval() first");
  CHECK(error_text<ShapeError>([&] {
          model.decoder(source, Tensor::zeros({3, 0}, DType::kInt64));
        }) == "decoder: tokens are [3, 0], expected at least one of each sample");
  model.eval();
  auto generation = model.decoder.start(source);
  CHECK_THROWS_AS(generation->step(ids({1}, {1})), ShapeError);
  CHECK_THROWS_AS(generation->step(ids({1, 7, 2}, {3})), ValueError);
  CHECK_THROWS_AS(generation->select(ids({3}, {1})), ValueError);
  source.states = Variable(Tensor::zeros({3, 5, 6}));
  CHECK(error_text<ShapeError>([&] { model.decoder(source, target_ids()); }) ==
        "decoder: the source's states are [3, 5, 6], expected [B, S, 4]");
  CHECK_THROWS_AS(
      RecurrentTextDecoder({.vocabulary = 7, .memory_dim = 6, .hidden = 4, .attention = attention_config("dot")}),
      ValueError);
  CHECK_THROWS_AS(RecurrentTextDecoder({.vocabulary = 7}), ValueError);
  CHECK_THROWS_AS(RecurrentTextEncoder({}), ValueError);
  Tape::current().clear();
}

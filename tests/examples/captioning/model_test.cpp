#include "examples/captioning/model.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "examples/captioning/attention_loss.h"
#include "examples/captioning/conv_encoder.h"
#include "examples/captioning/corpus.h"
#include "examples/captioning/overlay.h"
#include "examples/captioning/patch_encoder.h"
#include "framework/error.h"
#include "layers/seq2seq/recurrent_text.h"
#include "layers/seq2seq/transformer_text.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"
#include "tests/support/paths.h"
#include "tests/support/pictures.h"

namespace attune::examples::captioning {
namespace {

using testing::error_text;
using testing::max_difference;
using testing::random_tensor;

constexpr int64_t kVocabulary = 7;

std::unique_ptr<PictureEncoder> conv_encoder() {
  return std::make_unique<ConvEncoder>(
      ConvEncoderOptions{.size = 16, .stem = 3, .stages = {4, 6}, .blocks = 1, .dropout = 0});
}

std::unique_ptr<PictureEncoder> patch_encoder(PatchStem stem) {
  PatchEncoderOptions options{.size = 8, .patch = 4, .stem = stem, .dropout = 0};
  options.encoder = {
      .blocks = 1,
      .block = {.dim = 6, .heads = 2, .ffn_dim = 5, .dropout = 0, .activation = Activation::kGelu, .norm_first = true}};
  return std::make_unique<PatchEncoder>(options);
}

std::unique_ptr<TextDecoder> transformer_decoder() {
  TransformerTextDecoderOptions options{.vocabulary = kVocabulary, .embedding = {.max_length = 8, .dropout = 0}};
  options.decoder = {.blocks = 1, .block = {.dim = 6, .heads = 2, .ffn_dim = 5, .dropout = 0}};
  return std::make_unique<TransformerTextDecoder>(options);
}

std::unique_ptr<TextDecoder> soft_attention_decoder() {
  AttentionConfig choice = attention_config("soft-image");
  choice.sizes.hidden = 4;
  return std::make_unique<RecurrentTextDecoder>(RecurrentTextDecoderOptions{.vocabulary = kVocabulary,
                                                                            .memory_dim = 6,
                                                                            .dim = 5,
                                                                            .hidden = 4,
                                                                            .cell = RecurrentCell::kLstm,
                                                                            .attention = choice,
                                                                            .dropout = 0});
}

/// Every encoder, each with another decoder.
std::vector<std::unique_ptr<CaptioningModel>> models() {
  std::vector<std::unique_ptr<CaptioningModel>> made;
  made.push_back(std::make_unique<CaptioningModel>(conv_encoder(), soft_attention_decoder()));
  made.push_back(std::make_unique<CaptioningModel>(patch_encoder(PatchStem::kLinear), transformer_decoder()));
  made.push_back(std::make_unique<CaptioningModel>(patch_encoder(PatchStem::kConvolutions), transformer_decoder()));
  return made;
}

Tensor pictures_for(CaptioningModel& model, int64_t count) {
  const int64_t size = dynamic_cast<ConvEncoder*>(&model.encoder()) != nullptr ? 16 : 8;
  return random_tensor({count, size, size, 3}, DType::kFloat64, 3);
}

Tensor ids(const std::vector<int64_t>& values, const Shape& shape) { return Tensor::from(values, shape); }
Tensor tokens() { return ids({2, 4, 5, 2, 6, 1, 2, 2, 0}, {3, 3}); }
Tensor picture_of() { return ids({0, 0, 1}, {3}); }

TEST_CASE("picture encoders: a state for each region", "[examples][captioning]") {
  for (auto& model : models()) {
    model->to(DType::kFloat64);
    const EncoderOutput source = model->encoder()(pictures_for(*model, 2));
    CHECK(model->encoder().grid().rows == 2);
    CHECK(model->encoder().grid().columns == 2);
    CHECK(source.states.shape() == Shape{2, 4, 6});
    CHECK_FALSE(source.lengths.defined());
    CHECK(model->encoder().dim() == 6);
    CHECK(error_text<ShapeError>([&] {
            model->encoder()(Tensor::zeros({2, 7, 8, 3}));
          }).starts_with("encoder: pictures are [2, 7, 8, 3], expected [B, "));
    Tape::current().clear();
  }
}

TEST_CASE("a convolution's region sees where it lies", "[examples][captioning]") {
  // A change in one corner is largest in the state of that corner.
  const NoGrad values_only;
  auto encoder = conv_encoder();
  encoder->to(DType::kFloat64);
  encoder->eval();
  Tensor picture = Tensor::zeros({1, 16, 16, 3}, DType::kFloat64);
  const Tensor before = (*encoder)(picture).states.value().clone();
  picture.slice(1, 13, 16).slice(2, 0, 3).fill_(1);
  const Tensor after = (*encoder)(picture).states.value();
  std::vector<double> change;
  for (int64_t region = 0; region < 4; ++region) {
    change.push_back(max_difference(after.select(1, region), before.select(1, region)));
  }
  CHECK(std::max_element(change.begin(), change.end()) - change.begin() == 2);
}

TEST_CASE("a convolution's regions see as far to the left as to the right", "[examples][captioning]") {
  // Regions 3 and 4 of 8 mirror each other: so do the columns of the picture that they see.
  const NoGrad values_only;
  ConvEncoder encoder({.size = 64, .stem = 4, .stages = {4, 4}, .dropout = 0});
  encoder.to(DType::kFloat64);
  encoder.eval();
  Tensor pictures = Tensor::zeros({65, 64, 64, 3}, DType::kFloat64);  // one for each column, and one of zeros
  for (int64_t column = 0; column < 64; ++column) {
    Tensor changed = pictures.select(0, column).slice(1, column, column + 1);
    changed.copy_(random_tensor(changed.shape(), DType::kFloat64, static_cast<uint64_t>(column)));
  }
  const Tensor states = encoder(pictures).states.value().view({65, 8, 8, 4});
  const auto seen_by = [&](int64_t region) {
    std::vector<int64_t> columns;
    for (int64_t column = 0; column < 64; ++column) {
      const auto of = [&](int64_t picture) { return states.select(0, picture).select(1, region); };
      if (max_difference(of(column), of(64)) > 0) columns.push_back(column);
    }
    return columns;
  };
  const std::vector<int64_t> left = seen_by(3);
  const std::vector<int64_t> right = seen_by(4);
  CHECK(left.front() == 0);
  CHECK(left.back() == 56);
  CHECK(right.front() == 63 - 56);
  CHECK(right.back() == 63);
}

TEST_CASE("captioning models have right gradients", "[examples][captioning][gradcheck]") {
  for (auto& model : models()) {
    testing::randomise(*model);
    model->to(DType::kFloat64);
    const Tensor pictures = pictures_for(*model, 2);
    const auto logits = [&] { return model->decoder().head()((*model)(pictures, picture_of(), tokens())); };
    const GradcheckOptions options{.mode = GradcheckMode::kProjections, .projections = 1};
    const GradcheckReport report = gradcheck(std::function<Variable()>(logits), model->named_parameters(), options);
    INFO(report.to_string());
    CHECK(report.ok);
  }
}

TEST_CASE("captioning models: a picture is read once for its captions, and written about step by step",
          "[examples][captioning]") {
  const NoGrad values_only;
  for (auto& model : models()) {
    testing::randomise(*model);
    model->to(DType::kFloat64);
    model->eval();
    const Tensor pictures = pictures_for(*model, 2);
    const Tensor shared = (*model)(pictures, picture_of(), tokens()).value();
    const Tensor repeated = index_select(Variable(pictures), 0, picture_of()).value();
    CHECK(max_difference(shared, (*model)(repeated, ids({0, 1, 2}, {3}), tokens()).value()) < 1e-12);

    const Tensor logits = model->decoder().head()(Variable(shared)).value();  // [3, 3, V]
    auto generation = model->decoder().start(model->encoder()(repeated), {.attention = true});
    for (int64_t t = 0; t < 3; ++t) {
      const Tensor step = generation->step(tokens().select(1, t).contiguous());
      CHECK(max_difference(step, logits.select(1, t)) < 1e-10);
      CHECK(generation->attention().shape() == Shape{3, 4});
    }
  }
}

TEST_CASE("captions end where they end: what is behind counts in no loss", "[examples][captioning]") {
  const Tensor lengths = ids({2, 3}, {2});
  // Weights of 1 everywhere: each of two regions gets as much as there are words.
  const Variable weights(Tensor::full({2, 1, 3, 2}, 1, DType::kFloat64));
  const Tensor counted = sum(without_padding(weights, lengths), {1, 2}).value();
  CHECK(testing::values(counted) == std::vector<double>{2, 2, 3, 3});

  // Every word has probability 1 / 4 but the last one of the second caption.
  Tensor logits = Tensor::zeros({2, 3, 4}, DType::kFloat64);
  logits.select(0, 1).select(0, 2).select(0, 3).fill_(std::log(5.0));
  const Tensor targets = ids({1, 2, 0, 0, 1, 3}, {2, 3});
  const Tensor likelihood = log_likelihood(Variable(logits), targets, lengths).value();
  CHECK(testing::values(likelihood)[0] == Catch::Approx(2 * std::log(0.25)));
  CHECK(testing::values(likelihood)[1] == Catch::Approx(2 * std::log(0.25) + std::log(5.0 / 8)));
  CHECK(error_text<ValueError>([&] {
          log_likelihood(Variable(logits), targets, ids({2, 4}, {2}));
        }) == "captions: length 4 of caption 1, expected 1 to 3");

  // Of a picture with logits 0, 0, 0, log 5 and one with zeros; the words of caption 0 are of picture 1.
  const Tensor pictures = logits.select(0, 1).slice(0, 1, 3).clone();
  pictures.select(0, 0).copy_(logits.select(0, 1).select(0, 2));
  pictures.select(0, 1).zero_();
  CHECK(word_likelihood(Variable(pictures), ids({1, 0}, {2}), targets, lengths).item() ==
        Catch::Approx(2 * std::log(0.25) + 2 * std::log(1.0 / 8) + std::log(5.0 / 8)));

  TaughtAttention taught;
  CHECK_THROWS_AS(state_after(taught, lengths), ValueError);
  taught.log_probability = Variable(Tensor::from(std::vector<double>{-1, -3, -7, -2, -4, -9}, {2, 3}));
  taught.entropy = Variable(Tensor::from(std::vector<double>{1, 2, 3, 4, 5, 6}, {2, 3}));
  const AttentionState state = state_after(taught, lengths);
  CHECK(testing::values(state.log_probability.value()) == std::vector<double>{-3, -9});
  CHECK(testing::values(state.entropy.value()) == std::vector<double>{2, 6});
}

TEST_CASE("a taught decoder says what it looked at", "[examples][captioning]") {
  for (const char* name : {"soft-image", "hard-image"}) {
    AttentionConfig choice = attention_config(name);
    choice.sizes.hidden = 4;
    RecurrentTextDecoder decoder(
        {.vocabulary = kVocabulary, .memory_dim = 6, .dim = 5, .hidden = 4, .attention = choice, .dropout = 0});
    decoder.to(DType::kFloat64);
    decoder.eval();
    const EncoderOutput source{.states = Variable(random_tensor({3, 4, 6})), .lengths = {}};
    TaughtAttention taught;
    const Variable features = decoder.teach(source, tokens(), taught);
    CHECK(max_difference(features.value(), decoder(source, tokens()).value()) == 0);
    REQUIRE(taught.weights.shape() == Shape{3, 1, 3, 4});
    for (double total : testing::values(sum(taught.weights, {3}).value())) CHECK(total == Catch::Approx(1));
    const bool chooses = std::string(name) == "hard-image";
    CHECK(taught.log_probability.defined() == chooses);
    if (chooses) CHECK(taught.log_probability.shape() == Shape{3, 3});
  }
  RecurrentTextDecoder blind({.vocabulary = kVocabulary, .memory_dim = 6, .dim = 5, .hidden = 4, .attention = {}});
  TaughtAttention taught;
  CHECK_THROWS_AS(blind.teach({.states = Variable(Tensor::zeros({3, 4, 6})), .lengths = {}}, tokens(), taught),
                  ValueError);
  auto transformer = std::move(models()[1]);
  CHECK(error_text<ValueError>([&] {
          transformer->teach({.states = Variable(Tensor::zeros({3, 4, 6})), .lengths = {}}, tokens(), taught);
        }) == "decoder: teach() asks what the attention of a decoder did that is not recurrent");
  Tape::current().clear();
}

TEST_CASE("attention laid over a picture", "[examples][captioning]") {
  Image white{8, 8, std::vector<uint8_t>(8 * 8 * 3, 200)};
  const Image shown = overlay(white, std::vector<float>{0, 0, 0.5f, 0}, {2, 2});
  // The lower left corner is as it was, the upper right one a quarter of it.
  CHECK(shown.pixels[7 * 8 * 3] == 200);
  CHECK(shown.pixels[7 * 3] == 50);
  CHECK(overlay(white, std::vector<float>(4, 0.25f), {2, 2}) == white);
  CHECK(overlay(white, std::vector<float>(4, 0), {2, 2}).pixels[0] == 50);
  CHECK(error_text<ValueError>([&] {
          overlay(white, std::vector<float>(3, 0), {2, 2});
        }) == "overlay: 3 weights for 2 x 2 regions, expected one for each");
  CHECK_THROWS_AS(overlay(white, std::vector<float>{0, -1, 0, 0}, {2, 2}), ValueError);
}

TEST_CASE("pictures to learn from: embedded scenes and folders", "[examples][captioning]") {
  const PictureSet scenes = embedded_pictures(SceneSplit::kVal, 6, 32);
  CHECK(scenes.captions.size() == 6);
  CHECK(scenes.pictures->size() == 6);
  CHECK(scenes.pictures->height() == 32);
  CHECK(scenes.scenes[0].groups.size() > 0);
  CHECK(scenes.description == "6 embedded scenes with 30 captions");

  const testing::TemporaryDirectory directory;
  const std::string folder = directory.path().string();
  directory.write("images/a.png", encode_png(testing::gradient_picture(9, 9)));
  directory.write("images/b.png", "no picture");
  directory.write("captions.tsv", "a.png\tA dog\nb.png\ta dog runs\n");
  directory.write("train.txt", "a.png\nb.png\n");
  directory.write("dev.txt", "b.png\n");
  const PictureSet train = read_pictures(folder, "train", {.height = 8, .width = 8});
  CHECK(train.captions.size() == 2);
  CHECK(train.pictures->readable(0));
  CHECK_FALSE(train.pictures->readable(1));
  CHECK(train.description.find("1 unreadable: " + (directory / "images/b.png")) != std::string::npos);
  CHECK(error_text<FormatError>([&] {
          read_pictures(folder, "dev", {.height = 8, .width = 8});
        }).starts_with(folder + ": none of 1 pictures can be read, the first: " + (directory / "images/b.png")));
  const auto codec = learn_words(train.captions, 2);
  CHECK(codec->decode(codec->encode("A dog runs")) == "a dog <unk>");
}

TEST_CASE("picture encoders: sizes that do not fit", "[examples][captioning]") {
  CHECK(error_text<ValueError>([] {
          ConvEncoder({.size = 20, .stages = {4, 6}});
        }) == "ConvEncoder: pictures of 20 x 20 given, expected a multiple of 8 for 2 stages");
  CHECK_THROWS_AS(ConvEncoder({.stages = {}}), ValueError);
  CHECK_THROWS_AS(ConvEncoder({.stem = 0}), ValueError);
  CHECK_THROWS_AS(ConvEncoder({.blocks = 0}), ValueError);
  CHECK(error_text<ValueError>([] { PatchEncoder({.size = 100, .patch = 16}); }) ==
        "PatchEncoder: pictures of 100 x 100 and patches of 16 given, expected a multiple");
  CHECK_THROWS_AS(PatchEncoder({.size = 12, .patch = 6}), ValueError);
  CHECK_NOTHROW(PatchEncoder({.size = 12, .patch = 6, .stem = PatchStem::kLinear}));
}

}  // namespace
}  // namespace attune::examples::captioning

// Pictures in, captions out: the captioner and where it looks, controls, the page, and attune-captioning eval and
// caption from the outside.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "autograd/tape.h"
#include "examples/captioning/blind_encoder.h"
#include "examples/captioning/caption_page.h"
#include "examples/captioning/captioner.h"
#include "examples/captioning/controls.h"
#include "examples/captioning/corpus.h"
#include "examples/captioning/scores.h"
#include "examples/captioning/snapshot.h"
#include "examples/support/saved_parts.h"
#include "framework/checkpoint.h"
#include "framework/error.h"
#include "framework/random.h"
#include "tests/support/captioning.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"
#include "tests/support/pictures.h"
#include "tests/support/process.h"
#include "tests/support/tensors.h"
#include "tests/support/training_runs.h"

namespace attune::examples::captioning {
namespace {

using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
using testing::error_text;
using testing::Finished;
using testing::TemporaryDirectory;
using Words = std::vector<std::string>;

constexpr int64_t kSide = 32;

const PictureSet& some_scenes() {
  static const PictureSet scenes = embedded_pictures(SceneSplit::kTest, 5, kSide);
  return scenes;
}

/// A small model that knows the words of some scenes and has learned nothing: what it writes is a matter of chance, and
/// always the same.
Snapshot untrained_captioner(const std::string& decoder, const std::string& attention = "soft-image",
                             bool blind = false) {
  Snapshot snapshot;
  Config& config = snapshot.config;
  config = preset("scenes");
  testing::shrink(config);
  config.text = {.min_count = 1, .max_length = 20};
  config.model.encoder = decoder == "transformer" ? "patch" : "conv";
  config.model.decoder = decoder;
  config.model.attention = attention;
  config.model.blind = blind;
  config.run.scenes = 40;
  snapshot.codec = learn_words(embedded_pictures(SceneSplit::kTrain, config.run.scenes, kSide).captions, 1);
  manual_seed(3);
  snapshot.model = make_model(config, *snapshot.codec);
  // Larger than at first, so that it prefers something, and another thing behind every word.
  for (auto& [name, weight] : snapshot.model->named_parameters()) {
    if (weight.rank() > 1) Tensor(weight.value()).copy_(default_stream().normal(weight.shape(), 0, 0.5));
  }
  snapshot.model->eval();
  return snapshot;
}

std::string saved(const Snapshot& snapshot, const std::string& path) {
  Checkpoint checkpoint;
  checkpoint.put_text("config", to_json(snapshot.config));
  put_codec(checkpoint, kCodecPath, *snapshot.codec);
  checkpoint.put_tensors("model", snapshot.model->state_dict());
  checkpoint.save(path);
  return path;
}

TEST_CASE("captions come in the order of their pictures, however these are batched", "[examples][captioning]") {
  const PictureSet& scenes = some_scenes();
  for (const char* decoder : {"recurrent", "transformer"}) {
    const Snapshot snapshot = untrained_captioner(decoder);
    for (const int64_t beam : {1, 3}) {
      INFO(decoder << ", beam " << beam);
      const Captioner captioner(parts_of(snapshot), {.beam = beam, .best = beam, .batch_rows = 2 * beam});
      const std::vector<std::vector<Caption>> all = captioner(*scenes.pictures, scenes.readable());
      REQUIRE(all.size() == 5);
      for (int64_t i = 0; i < 5; ++i) {
        const std::vector<Caption>& best = all[static_cast<size_t>(i)];
        const std::vector<Caption> alone = captioner(to_tensor(*scenes.pictures, std::vector{i})).front();
        REQUIRE(best.size() == alone.size());
        CHECK(std::ssize(best) == beam);
        for (size_t k = 0; k < best.size(); ++k) {
          CHECK(best[k].text == alone[k].text);
          CHECK(best[k].score == Approx(alone[k].score).margin(1e-4));
          CHECK(std::ssize(best[k].tokens) <= 20);
          if (k == 0) continue;
          // Captions that the limit cut off come behind those that ended.
          const bool cut = std::ssize(best[k].tokens) == 20;
          const bool cut_before = std::ssize(best[k - 1].tokens) == 20;
          CHECK((cut_before == cut ? best[k - 1].score >= best[k].score : cut));
        }
      }
    }
  }
}

TEST_CASE("a beam of 1 finds what greedy search finds", "[examples][captioning]") {
  const NoGrad no_grad;
  const PictureSet& scenes = some_scenes();
  const Snapshot snapshot = untrained_captioner("recurrent");
  const Tensor pictures = to_tensor(*scenes.pictures, scenes.readable());
  const std::vector<std::vector<Caption>> captions = Captioner(parts_of(snapshot))(pictures);
  auto generation = snapshot.model->decoder().start(snapshot.model->encoder()(pictures), {});
  const auto searched = beam_search(*generation,
                                    {.bos = TextCodec::kBegin,
                                     .eos = TextCodec::kEnd,
                                     .forbidden = {TextCodec::kPad, TextCodec::kUnknown},
                                     .max_length = {20}},
                                    {.width = 1});
  for (size_t i = 0; i < captions.size(); ++i) {
    CHECK(captions[i].front().tokens == searched[i].front().tokens);
    CHECK(captions[i].front().text == snapshot.codec->decode(searched[i].front().tokens));
  }
  CHECK_THAT(error_text<ValueError>([&] { Captioner(parts_of(snapshot), {.beam = 2, .best = 3}); }),
             ContainsSubstring("best 3"));
}

TEST_CASE("the model is left in the mode that it was in when captions are written", "[examples][captioning]") {
  const Snapshot snapshot = untrained_captioner("transformer");
  const Captioner captioner(parts_of(snapshot));
  const Tensor picture = to_tensor(*some_scenes().pictures, std::vector<int64_t>{0});
  for (const bool training : {true, false}) {
    snapshot.model->train(training);
    captioner(picture);
    captioner.attention(picture, std::vector<std::vector<int64_t>>{{4, 5}});
    CHECK(snapshot.model->training() == training);
  }
}

TEST_CASE("where a caption's words looked is what the decoder looked at while it wrote them",
          "[examples][captioning]") {
  const NoGrad no_grad;
  const PictureSet& scenes = some_scenes();
  const std::vector<std::vector<int64_t>> captions = {{4, 5, 6, 7}, {}, {8}};
  for (const char* decoder : {"recurrent", "transformer"}) {
    INFO(decoder);
    const Snapshot snapshot = untrained_captioner(decoder);
    const Tensor pictures = to_tensor(*scenes.pictures, std::vector<int64_t>{0, 1, 2});
    const std::vector<Tensor> looked = Captioner(parts_of(snapshot)).attention(pictures, captions);
    REQUIRE(looked.size() == 3);
    const int64_t regions = snapshot.model->encoder().grid().count();
    for (size_t i = 0; i < looked.size(); ++i) {
      REQUIRE(looked[i].shape() == Shape{std::ssize(captions[i]), regions});
      for (int64_t t = 0; t < looked[i].dim(0); ++t) {
        const std::vector<float> row = looked[i].select(0, t).to_vector<float>();
        CHECK(std::accumulate(row.begin(), row.end(), 0.0) == Approx(1).margin(1e-5));
      }
    }
    // Step by step: with one block, the mean over heads and blocks is that over the last one's heads.
    auto generation = snapshot.model->decoder().start(snapshot.model->encoder()(pictures), {.attention = true});
    const std::vector<std::vector<int64_t>> steps = {{2, 2, 2}, {4, 0, 0}, {5, 0, 0}, {6, 0, 0}};
    for (size_t t = 0; t < steps.size(); ++t) {
      generation->step(Tensor::from(steps[t], {3}));
      const auto row = static_cast<int64_t>(t);
      CHECK(testing::max_difference(looked[0].select(0, row), generation->attention().select(0, 0)) < 1e-5);
      if (t == 0) CHECK(testing::max_difference(looked[2].select(0, 0), generation->attention().select(0, 2)) < 1e-5);
    }
  }
  const Snapshot without = untrained_captioner("recurrent", "none");
  const Tensor pictures = to_tensor(*scenes.pictures, std::vector<int64_t>{0});
  const Captioner captioner(parts_of(without));
  CHECK_FALSE(captioner.attention(pictures, std::vector<std::vector<int64_t>>{{4}}).front().defined());
  CHECK(error_text<ShapeError>([&] { captioner.attention(pictures, captions); }) ==
        "captioner: attention of 3 captions about 1 pictures asked for, expected one about each");
}

TEST_CASE("attention on objects: a blind model looks everywhere alike", "[examples][captioning]") {
  const ObjectAttention blind =
      attention_on_objects(Captioner(parts_of(untrained_captioner("recurrent", "soft-image", true))), some_scenes());
  int64_t words = 0;
  for (const Scene& scene : some_scenes().scenes) {
    for (const SceneCaption& caption : scene.captions) {
      words +=
          std::count_if(caption.group_of_word.begin(), caption.group_of_word.end(), [](int64_t g) { return g >= 0; });
    }
  }
  CHECK(blind.words == words);
  CHECK(blind.inside.value() == Approx(blind.uniform.value()).epsilon(1e-4));
  CHECK(blind.uniform.value() > 0.005);
  CHECK(blind.uniform.value() < 0.3);
  const ObjectAttention seeing =
      attention_on_objects(Captioner(parts_of(untrained_captioner("transformer"))), some_scenes());
  CHECK(seeing.words == words);
  CHECK(seeing.inside.value() != Approx(seeing.uniform.value()).epsilon(1e-4));
  const Snapshot snapshot = untrained_captioner("transformer");
  CaptioningParts brief = parts_of(snapshot);
  brief.max_length = 4;
  CHECK(attention_on_objects(Captioner(brief), some_scenes()).words < words);
  const ObjectAttention none =
      attention_on_objects(Captioner(parts_of(untrained_captioner("recurrent", "none"))), some_scenes());
  CHECK(none.words == 0);
}

TEST_CASE("a blind encoder shows nothing", "[examples][captioning]") {
  BlindEncoder encoder(8, 5, {2, 3});
  const EncoderOutput source = encoder(Tensor::full({2, 8, 8, 3}, 1));
  REQUIRE(source.states.shape() == Shape{2, 6, 5});
  CHECK(testing::max_difference(source.states.value(), Tensor::zeros({2, 6, 5})) == 0);
  CHECK(encoder.named_parameters().empty());
  CHECK_THROWS_AS(encoder(Tensor::zeros({2, 7, 8, 3})), ShapeError);
  CHECK_THROWS_AS(BlindEncoder(8, 0, {2, 3}), ValueError);
}

TEST_CASE("controls: the most frequent caption, and pictures of which none is its own", "[examples][captioning]") {
  const std::vector<CaptionedPicture> pictures = {
      {"a", {"A dog runs .", "two cats"}}, {"b", {"a dog runs", "one cat"}}, {"c", {"Two cats."}}};
  // Both twice; scores see neither case nor full stops.
  CHECK(most_frequent_caption(pictures).text == "a dog runs");
  CHECK(most_frequent_caption(pictures).count == 2);
  CHECK_THROWS_AS(most_frequent_caption({}), ValueError);

  for (const int64_t count : {2, 3, 50}) {
    for (const uint64_t seed : {1, 2, 3}) {
      std::vector<int64_t> order = derangement(count, seed);
      CHECK(order == derangement(count, seed));
      for (int64_t i = 0; i < count; ++i) CHECK(order[static_cast<size_t>(i)] != i);
      std::sort(order.begin(), order.end());
      for (int64_t i = 0; i < count; ++i) CHECK(order[static_cast<size_t>(i)] == i);
    }
  }
  CHECK(derangement(50, 1) != derangement(50, 2));
  CHECK_THROWS_AS(derangement(1, 1), ValueError);
}

TEST_CASE("captions are compared with what is said of their own pictures", "[examples][captioning]") {
  const std::vector<CaptionedPicture> pictures = {
      {"a", {"a red dog runs fast"}}, {"b", {}}, {"c", {"two cats sleep at home", "cats"}}};
  const References references(pictures, std::vector<int64_t>{2, 0});
  CHECK(references.size() == 3);
  const CaptionScores same = references.score(Words{"Two cats sleep at home .", "a red dog runs fast"});
  for (const double bleu : same.bleu) CHECK(bleu == Approx(1));
  CHECK(same.rouge_l == Approx(1));
  const CaptionScores exchanged = references.score(Words{"a red dog runs fast", "two cats sleep at home"});
  CHECK(exchanged.bleu[0] == Approx(0).margin(1e-9));
  CHECK(exchanged.cider == 0);
  CHECK_THROWS_AS(references.score(Words{"a"}), ValueError);
}

ShownCaption shown_caption() {
  return {.name = "<b>\"dogs\" & cats'.png",
          .picture = testing::gradient_picture(6, 8),
          .words = {"a", "<script>"},
          .weights = Tensor::from(std::vector<float>{1, 0, 0, 0, 0.25f, 0.25f, 0.25f, 0.25f}, {2, 4})};
}

size_t occurrences(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST_CASE("the page of captions stands alone and takes any text", "[examples][captioning]") {
  const std::vector<ShownCaption> captions = {shown_caption(), shown_caption()};
  const std::string page = caption_page(captions, {2, 2}, {.title = "<i>"});
  for (const char* outside : {"http:", "https:", "src=", "url(", "@import", "<link"}) {
    INFO(outside);
    CHECK(page.find(outside) == std::string::npos);
  }
  CHECK(page.find("<b>") == std::string::npos);
  CHECK(page.find("<i>") == std::string::npos);
  CHECK(occurrences(page, "<script>") == 1);
  CHECK_THAT(page, ContainsSubstring("<title>&#60;i&#62;</title>"));
  CHECK_THAT(page, ContainsSubstring("&#60;b&#62;&#34;dogs&#34; &#38; cats&#39;.png"));
  // Each picture is there once, and a tile for it and for every word; each word has its light in the strip alone.
  CHECK(occurrences(page, "id=\"picture1\"") == 1);
  CHECK(occurrences(page, "<use href=\"#picture1\"/>") == 3);
  CHECK(occurrences(page, "data:image/png;base64,") == 2 * 3);
  CHECK(occurrences(page, "<button type=\"button\" data-word=") == 4);
  CHECK(page.ends_with("</html>\n"));

  ShownCaption blank = shown_caption();
  blank.weights = {};
  const std::string plain = caption_page(std::vector{blank}, {2, 2});
  CHECK_THAT(plain, ContainsSubstring("This model does not look at regions"));
  CHECK(occurrences(plain, "<button") == 0);

  CHECK(error_text<ShapeError>([&] {
          caption_page(captions, {2, 3});
        }) == "caption_page: weights of '" + captions[0].name + "' are [2, 4], expected [2, 6]");
  CHECK_THROWS_AS(caption_page({}, {2, 2}), ValueError);
  blank.picture = {};
  CHECK_THROWS_AS(caption_page(std::vector{blank}, {2, 2}), ValueError);
}

TEST_CASE("pictures shrink until the page of captions fits", "[examples][captioning]") {
  ShownCaption noise = shown_caption();
  noise.picture = {.height = 150, .width = 300, .pixels = {}};
  RandomStream random(1);
  for (int64_t i = 0; i < 150 * 300 * 3; ++i) noise.picture.pixels.push_back(static_cast<uint8_t>(random.below(256)));
  const std::string whole = caption_page(std::vector{noise}, {2, 2});
  CHECK_THAT(whole, ContainsSubstring("viewBox=\"0 0 300 150\""));
  const std::string small = caption_page(std::vector{noise}, {2, 2}, {.max_bytes = 100'000});
  CHECK(small.size() <= 100'000);
  CHECK_THAT(small, ContainsSubstring("viewBox=\"0 0 180 90\""));
  CHECK_THAT(error_text<ValueError>([&] {
               caption_page(std::vector{noise}, {2, 2}, {.max_bytes = 9000});
             }),
             ContainsSubstring("1 captions do not fit into 9000 bytes"));
}

Finished run_captioning(const Words& words) { return testing::run("attune-captioning", words); }

Words lines_in(const std::string& text) {
  Words lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST_CASE("caption answers for every picture that it can read", "[program][captioning]") {
  const TemporaryDirectory directory;
  const std::string checkpoint = saved(untrained_captioner("recurrent"), directory / "model.h5");
  const std::string good = directory.write("good.png", encode_png(testing::gradient_picture(40, 60)));
  const std::string photo = directory.write("photo.jpg", testing::jpeg_file(testing::gradient_picture(50, 20)));
  const std::string bad = directory.write("bad.png", encode_png(testing::gradient_picture(40, 60)).substr(0, 60));
  const std::string empty = directory.write("empty.jpg", "");

  const Finished one = run_captioning({"caption", "--checkpoint", checkpoint, "--beam", "2", good});
  INFO(one.err);
  CHECK(one.status == 0);
  CHECK(one.err.empty());
  REQUIRE(lines_in(one.out).size() == 1);

  const std::string page = directory / "page.html";
  const std::string overlays = directory / "new" + "/overlays";
  const Finished several = run_captioning({"caption", "--checkpoint", checkpoint, "--beam", "2", "--html", page,
                                           "--png", overlays, bad, good, empty, directory / "none.png", photo});
  CHECK(several.status == 1);
  const Words lines = lines_in(several.out);
  REQUIRE(lines.size() == 2);
  CHECK(lines[0] == good + "\t" + lines_in(one.out)[0]);
  CHECK(lines[1].starts_with(photo + "\t"));
  const Words errors = lines_in(several.err);
  REQUIRE(errors.size() == 3);
  CHECK(errors[0].starts_with("error: " + bad));
  CHECK(errors[1].starts_with("error: " + empty));
  CHECK(errors[2].starts_with("error: " + (directory / "none.png")));

  const std::string html = testing::read_bytes(page);
  CHECK_THAT(html, ContainsSubstring("id=\"picture2\""));
  size_t files = 0, words = 0;
  for (const auto& entry : std::filesystem::directory_iterator(overlays)) {
    ++files;
    const std::string name = entry.path().filename().string();
    CHECK((name.starts_with("001-good-") || name.starts_with("002-photo-")));
    const Image picture = read_image(entry.path().string());
    CHECK(picture.width == (name[2] == '1' ? 60 : 20));
  }
  for (const std::string& line : lines) {
    const std::string text = line.substr(line.find('\t') + 1);
    words += static_cast<size_t>(std::count(text.begin(), text.end(), ' ')) + 1;
  }
  CHECK(files == words);

  // The embedded scenes, where nothing is named.
  const Finished scenes = run_captioning({"caption", "--checkpoint", checkpoint, "--json"});
  CHECK(scenes.status == 0);
  REQUIRE(lines_in(scenes.out).size() == 8);
  const nlohmann::json object = nlohmann::json::parse(lines_in(scenes.out)[7]);
  CHECK(object["image"].get<std::string>() == "scene7");
  CHECK(object["log_probability"].get<double>() < 0);
}

TEST_CASE("eval compares a model with its controls", "[program][captioning]") {
  const TemporaryDirectory directory;
  const std::string checkpoint = saved(untrained_captioner("transformer"), directory / "model.h5");
  const std::string blind = saved(untrained_captioner("transformer", "soft-image", true), directory / "blind.h5");
  std::string captions, names;
  for (const char* name : {"a.png", "b.png", "c.png"}) {
    directory.write(std::string("data/images/") + name, encode_png(testing::gradient_picture(20, 20)));
    captions += std::string(name) + "\ta red circle\n" + name + "\ta blue square above it\n";
    names += std::string(name) + "\n";
  }
  directory.write("data/images/d.png", "no picture");
  directory.write("data/captions.tsv", captions + "d.png\tnothing\n");
  directory.write("data/train.txt", names);
  directory.write("data/dev.txt", names + "d.png\n");
  const Words words = {"eval", "--checkpoint", checkpoint, "--data", directory / "data", "--beam", "2"};

  Words with_blind = words;
  with_blind.insert(with_blind.end(), {"--blind", blind, "--output", directory / "out.tsv", "--json"});
  const Finished full = run_captioning(with_blind);
  INFO(full.err);
  REQUIRE(full.status == 0);
  CHECK_THAT(full.err, ContainsSubstring("1 unreadable: " + (directory / "data/images/d.png")));
  for (const char* part : {"BLEU-4", "CIDEr-D", "ROUGE-L", "the model, shuffled pictures", "image-blind language model",
                           "3 pictures with 6 captions; beam 2", "3 times: a blue square above it"}) {
    CHECK_THAT(full.out, ContainsSubstring(part));
  }
  const Words written = lines_in(testing::read_bytes(directory / "out.tsv"));
  REQUIRE(written.size() == 3);
  CHECK(written[1].starts_with("b.png\t"));
  const nlohmann::json json = nlohmann::json::parse(lines_in(full.out).back());
  REQUIRE(json["rows"].size() == 4);
  // All pictures are alike, so that it does not matter which of them is seen.
  CHECK(json["rows"][0]["cider_d"].get<double>() == json["rows"][1]["cider_d"].get<double>());
  CHECK(json["rows"][0]["loss"].get<double>() == Approx(json["rows"][1]["loss"].get<double>()));
  CHECK(json["rows"][0]["reference_tokens"].get<int>() == 3 * (4 + 6));
  CHECK(json["rows"][2]["captions_by"].get<std::string>() == "most frequent caption");
  CHECK(json["rows"][2]["bleu"][3].get<double>() == Approx(1));
  CHECK_FALSE(json["rows"][2].contains("loss"));

  const Finished without = run_captioning(words);
  CHECK(without.status == 0);
  CHECK_THAT(without.out, ContainsSubstring("image-blind language model: left out; train one with"));

  testing::check_error(run_captioning({"eval", "--checkpoint", checkpoint, "--blind", checkpoint}), 2,
                       "this model sees pictures, expected one trained with --set model.blind=true");
  testing::check_error(run_captioning({"eval", "--checkpoint", checkpoint, "--split", "train"}), 2,
                       "--split is train, the embedded scenes have dev and test");
}

TEST_CASE("eval of a model of the embedded scenes says whether its words find their objects", "[program][captioning]") {
  const TemporaryDirectory directory;
  const std::string checkpoint = saved(untrained_captioner("recurrent"), directory / "model.h5");
  const Finished finished = run_captioning({"eval", "--checkpoint", checkpoint, "--beam", "1", "--json"});
  INFO(finished.err);
  REQUIRE(finished.status == 0);
  CHECK_THAT(finished.out, ContainsSubstring("attention inside the boxes of a word's objects: "));
  const nlohmann::json json = nlohmann::json::parse(lines_in(finished.out).back());
  CHECK(json["attention_inside"].get<double>() > 0);
  CHECK(json["uniform_inside"].get<double>() < 0.3);
  CHECK(json["rows"][0]["loss"].get<double>() != json["rows"][1]["loss"].get<double>());

  Snapshot other = untrained_captioner("recurrent");
  other.config.run.data = "pictures";
  const std::string trained = saved(other, directory / "other.h5");
  testing::check_error(run_captioning({"eval", "--checkpoint", trained}), 2,
                       "--data is missing: " + trained + " was trained on pictures, not on the embedded scenes");
  testing::check_error(run_captioning({"caption", "--checkpoint", trained}), 2, "IMAGE is missing: " + trained);
}

}  // namespace
}  // namespace attune::examples::captioning

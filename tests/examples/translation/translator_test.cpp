// Sentences in, translations out; the weights that go with them; lines of a stream.
#include "examples/translation/translator.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "examples/support/line_reader.h"
#include "examples/translation/alignments.h"
#include "framework/error.h"
#include "tests/examples/translation/untrained.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

namespace attune {
namespace {

using namespace examples::translation;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
using examples::LineReader;
using testing::error_text;

std::vector<std::string> sentences(int64_t count, BilingualSplit split = BilingualSplit::kTest) {
  std::vector<std::string> texts;
  for (const BilingualPair& pair : generate_bilingual({.count = count, .split = split})) texts.push_back(pair.source);
  return texts;
}

std::vector<std::vector<int64_t>> encoded(const Translator& translator, const std::vector<std::string>& texts) {
  std::vector<std::vector<int64_t>> tokens;
  for (const std::string& text : texts) tokens.push_back(translator.encode(text, "text"));
  return tokens;
}

TEST_CASE("translations come in the order of their sentences, however these are batched", "[translation]") {
  for (const char* kind : {"transformer", "recurrent"}) {
    const Snapshot snapshot = testing::untrained(kind);
    for (const int64_t beam : {1, 3}) {
      INFO(kind << ", beam " << beam);
      const Translator translator(parts_of(snapshot), {.beam = beam, .best = beam, .batch_tokens = 40});
      std::vector<std::string> texts = sentences(9);
      texts.insert(texts.begin() + 2, " \t ");
      const std::vector<std::vector<int64_t>> tokens = encoded(translator, texts);
      const std::vector<std::vector<Translation>> all = translator(tokens);
      REQUIRE(all.size() == texts.size());
      for (size_t i = 0; i < texts.size(); ++i) {
        const std::vector<Translation> alone = translator(std::span(tokens).subspan(i, 1)).front();
        REQUIRE(all[i].size() == alone.size());
        for (size_t k = 0; k < alone.size(); ++k) {
          CHECK(all[i][k].text == alone[k].text);
          CHECK(all[i][k].score == Approx(alone[k].score).margin(1e-4));
          CHECK((k == 0 || all[i][k - 1].score >= all[i][k].score));
        }
      }
      CHECK(all[2].front().text.empty());
      CHECK(all[2].front().tokens.empty());
      CHECK_FALSE(all[1].front().text.empty());
      CHECK(std::ssize(all[1]) == beam);
    }
  }
}

TEST_CASE("a model that does not end its sentences is stopped", "[translation]") {
  const Snapshot snapshot = testing::untrained();
  TranslationParts parts = parts_of(snapshot);
  parts.max_length = 7;
  const Translator translator(parts, {});
  const std::vector<std::vector<int64_t>> tokens = {translator.encode("the dog sees the cat .", "text", true)};
  const std::vector<Translation> found = translator(tokens).front();
  CHECK(found.front().tokens.size() <= 7);
  CHECK(found.front().log_probability < 0);
}

TEST_CASE("the model is left in the mode that it was in", "[translation]") {
  const Snapshot snapshot = testing::untrained();
  const Translator translator(parts_of(snapshot), {});
  const auto tokens = encoded(translator, sentences(1));
  for (const bool training : {true, false}) {
    snapshot.model->train(training);
    translator(tokens);
    CHECK(snapshot.model->training() == training);
  }
}

TEST_CASE("sentences become tokens, or errors that name the line", "[translation]") {
  const Snapshot snapshot = testing::untrained();
  const Translator translator(parts_of(snapshot), {});
  const std::vector<int64_t> tokens = translator.encode("the d\u00F8g", "in: line 1");
  REQUIRE(tokens.size() == 3);
  CHECK(tokens[1] == TextCodec::kUnknown);
  CHECK(tokens[2] == TextCodec::kEnd);
  CHECK_FALSE(translator(std::vector<std::vector<int64_t>>{tokens}).front().front().tokens.empty());
  CHECK(translator.encode("", "in: line 1").empty());
  CHECK(translator.encode("\u3000", "in: line 1").empty());

  CHECK_THAT(error_text<FormatError>([&] {
               translator.encode(
                   "the \xFF"
                   "dog",
                   "in: line 7");
             }),
             ContainsSubstring("in: line 7: byte 5 ('\\xff') is not valid UTF-8"));
  std::string text;
  for (int i = 0; i < 24; ++i) text += "the ";
  CHECK(error_text<FormatError>([&] { translator.encode(text, "in: line 8"); }) ==
        "in: line 8: 25 tokens, the model takes at most 24; shorten the sentence or give --truncate");
  const std::vector<int64_t> cut = translator.encode(text, "in: line 8", true);
  CHECK(cut.size() == 24);
  CHECK(cut.back() == TextCodec::kEnd);

  CHECK_THAT(error_text<ValueError>([&] { Translator(parts_of(snapshot), {.beam = 2, .best = 3}); }),
             ContainsSubstring("best 3"));
}

/// The words of one pair aligned by hand from the weights that a page shows.
AlignmentScore score_by_page(const TranslationParts& parts, const BilingualPair& pair, const std::string& layer) {
  std::vector<int64_t> source = parts.source.codec->encode(pair.source);
  std::vector<int64_t> target = parts.target.codec->encode(pair.target);
  source.push_back(TextCodec::kEnd);
  target.push_back(TextCodec::kEnd);
  const AttentionExample example = attention_example(parts, source, target);
  const auto map = std::find_if(example.maps.begin(), example.maps.end(),
                                [&](const AttentionMap& other) { return other.layer == layer; });
  REQUIRE(map != example.maps.end());
  CHECK(map->queries == 1);
  CHECK(map->keys == 0);
  std::vector<AlignmentLink> links;
  for (int64_t t = 0; t + 1 < std::ssize(target); ++t) {
    double most = 0;
    AlignmentLink link{t, 0};
    for (int64_t s = 0; s + 1 < std::ssize(source); ++s) {
      double weight = 0;
      for (int64_t h = 0; h < map->weights.dim(0); ++h)
        weight += map->weights.select(0, h).select(0, t).select(0, s).item();
      if (weight > most) {
        most = weight;
        link.source = s;
      }
    }
    links.push_back(link);
  }
  AlignmentScore score;
  score.add(pair.sure, pair.possible, links);
  return score;
}

TEST_CASE("alignments are those of the weights of each pair alone", "[translation]") {
  for (const char* kind : {"transformer", "recurrent"}) {
    INFO(kind);
    const Snapshot snapshot = testing::untrained(kind);
    const TranslationParts parts = parts_of(snapshot);
    const std::vector<BilingualPair> pairs = generate_bilingual({.count = 6});
    const std::vector<LayerAlignment> layers = score_alignments(parts, pairs);
    REQUIRE(std::ssize(layers) == (kind == std::string("recurrent") ? 1 : snapshot.config.model.decoder_blocks));
    for (const LayerAlignment& layer : layers) {
      CHECK(layer.layer.starts_with("decoder"));
      double recall = 0, known = 0;
      for (const BilingualPair& pair : pairs) {
        recall += score_by_page(parts, pair, layer.layer).recall() * static_cast<double>(pair.sure.size());
        known += static_cast<double>(pair.sure.size());
      }
      CHECK(layer.score.recall() == Approx(recall / known));
    }
  }
}

TEST_CASE("a page has what encoder and decoder looked at", "[translation]") {
  const Snapshot snapshot = testing::untrained();
  const std::vector<int64_t> source = {5, 6, TextCodec::kEnd};
  const std::vector<int64_t> target = {7, TextCodec::kEnd};
  const AttentionExample example = attention_example(parts_of(snapshot), source, target);
  REQUIRE(example.sequences.size() == 3);
  CHECK(example.sequences[0].tokens.back() == "<eos>");
  CHECK(example.sequences[1].tokens.front() == snapshot.target.codec->token(7));
  CHECK(example.sequences[2].tokens.front() == "<bos>");
  CHECK(example.sequences[2].tokens.size() == 2);
  int source_maps = 0, cross_maps = 0, target_maps = 0;
  for (const AttentionMap& map : example.maps) {
    source_maps += map.queries == 0 && map.keys == 0 && map.layer.starts_with("encoder.");
    cross_maps += map.queries == 1 && map.keys == 0 && map.layer.ends_with(".cross");
    target_maps += map.queries == 1 && map.keys == 2 && map.layer.ends_with(".attn");
  }
  CHECK(example.maps.front().layer.ends_with("block1.cross"));
  CHECK(source_maps == 2);
  CHECK(cross_maps == 2);
  CHECK(target_maps == 2);
  CHECK_THAT(attention_page(std::vector{example}), ContainsSubstring("decoder.decoder.block1.cross"));
}

/// A pipe to read lines from.
class Pipe {
 public:
  Pipe() { REQUIRE(pipe(ends_) == 0); }
  ~Pipe() {
    close(ends_[0]);
    end();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  void write(const std::string& text) { REQUIRE(::write(ends_[1], text.data(), text.size()) == std::ssize(text)); }
  void end() {
    if (ends_[1] >= 0) close(std::exchange(ends_[1], -1));
  }
  int reading() const { return ends_[0]; }

 private:
  int ends_[2];
};

TEST_CASE("lines are handed out as they arrive", "[translation]") {
  Pipe pipe;
  LineReader reader(pipe.reading(), "in");
  pipe.write("\xEF\xBB\xBFone\r\n\ntwo\nthr");
  CHECK(reader.next(10) == std::vector<std::string>{"one", "", "two"});  // the pipe stays open: nothing is waited for
  CHECK(reader.origin(2) == "in: line 3");
  pipe.write("ee\nfour\nfive");
  CHECK(reader.next(1) == std::vector<std::string>{"three"});
  pipe.end();
  CHECK(reader.next(10) == std::vector<std::string>{"four", "five"});
  CHECK(reader.origin(0) == "in: line 5");
  CHECK(reader.bytes() == 3 + 5 + 1 + 4 + 6 + 5 + 4);
  CHECK(reader.next(10).empty());
}

TEST_CASE("a bad line is an error after the lines before it", "[translation]") {
  const struct {
    std::string bytes;
    const char* error;
  } cases[] = {{"a\xC3\n", "in: line 3: byte 2 ('\\xc3') is not valid UTF-8"},
               {std::string("a\0b\n", 4), "in: line 3: NUL byte, expected text"}};
  for (const auto& [bytes, error] : cases) {
    Pipe pipe;
    LineReader reader(pipe.reading(), "in");
    pipe.write("one\ntwo\n" + bytes + "four\n");
    pipe.end();
    CHECK(reader.next(10).size() == 2);
    CHECK_THAT(error_text<FormatError>([&] { reader.next(10); }), ContainsSubstring(error));
  }
}

}  // namespace
}  // namespace attune

#include "datasets/scenes.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "datasets/hash.h"
#include "datasets/utf8.h"
#include "framework/error.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

using testing::error_text;

uint64_t hash_of(const Image& image) { return stable_hash(std::as_bytes(std::span(image.pixels))); }

TEST_CASE("scenes: the same on every machine, splits apart", "[datasets][captioning][scenes]") {
  const auto scenes = generate_scenes({.count = 300});
  REQUIRE(scenes.size() == 300);
  CHECK(scenes[0].captions[0].text == "a large red diamond at the bottom");
  CHECK(hash_of(scenes[0].picture) == 0xAF57D94FD175A55E);
  CHECK(hash_of(scenes[299].picture) == 0x1188C15DA8735B72);
  const auto prefix = generate_scenes({.count = 20});
  for (size_t i = 0; i < prefix.size(); ++i) CHECK(prefix[i].picture == scenes[i].picture);
  CHECK(generate_scenes({.count = 1, .seed = 1})[0].picture != scenes[0].picture);

  std::map<std::string, SceneSplit> split;
  std::set<std::string> words;
  for (SceneSplit part : {SceneSplit::kTrain, SceneSplit::kVal, SceneSplit::kTest}) {
    for (const Scene& scene : generate_scenes({.count = 300, .seed = 5, .split = part})) {
      // From either group's side.
      for (const SceneCaption& caption : {scene.captions[0], scene.captions[1]}) {
        std::string text;
        for (std::string_view word : utf8::split(caption.text)) {
          text += word == "little" ? "small" : word == "big" ? "large" : word;
          text += ' ';
        }
        if (split.emplace(text, part).first->second != part) FAIL(text << "is in two splits");
      }
      std::set<std::string> different;
      for (const SceneCaption& caption : scene.captions) {
        const auto caption_words = utf8::split(caption.text);
        if (caption_words.size() != caption.group_of_word.size()) FAIL(caption.text);
        words.insert(caption_words.begin(), caption_words.end());
        different.insert(caption.text);
      }
      CHECK(different.size() == 5);
    }
  }
  CHECK(words.size() > 35);
  CHECK(words.size() < 50);
}

TEST_CASE("scenes: words, boxes and pixels agree", "[datasets][captioning][scenes]") {
  const std::map<std::string_view, size_t> counts = {{"a", 1}, {"an", 1}, {"two", 2}, {"three", 3}};
  int above = 0;
  for (int64_t size : {32, 64}) {
    for (const Scene& scene : generate_scenes({.count = 150, .seed = 2, .size = size})) {
      REQUIRE(scene.picture.pixels.size() == static_cast<size_t>(size * size * 3));
      std::vector<SceneBox> boxes;
      for (const auto& group : scene.groups) boxes.insert(boxes.end(), group.begin(), group.end());
      std::vector<int> owner(static_cast<size_t>(size * size), -1);
      for (size_t b = 0; b < boxes.size(); ++b) {
        const SceneBox& box = boxes[b];
        REQUIRE(box.top >= 0);
        REQUIRE(box.left >= 0);
        REQUIRE(box.bottom <= size);
        REQUIRE(box.right <= size);
        for (int64_t y = box.top; y < box.bottom; ++y) {
          for (int64_t x = box.left; x < box.right; ++x) {
            int& pixel = owner[static_cast<size_t>(y * size + x)];
            if (pixel != -1) FAIL("boxes overlap in " << scene.captions[0].text);
            pixel = static_cast<int>(b);
          }
        }
      }
      // Colour, that is what is not grey, lies in the boxes and reaches all their edges.
      std::vector<SceneBox> seen(boxes.size(), {size, size, 0, 0});
      for (int64_t i = 0; i < size * size; ++i) {
        const uint8_t* pixel = scene.picture.pixels.data() + i * 3;
        if (pixel[0] == pixel[1] && pixel[1] == pixel[2]) continue;
        const int b = owner[static_cast<size_t>(i)];
        if (b < 0) FAIL("colour outside the boxes of " << scene.captions[0].text);
        SceneBox& box = seen[static_cast<size_t>(b)];
        box = {std::min(box.top, i / size), std::min(box.left, i % size), std::max(box.bottom, i / size + 1),
               std::max(box.right, i % size + 1)};
      }
      for (size_t b = 0; b < boxes.size(); ++b) {
        CHECK(seen[b].top - boxes[b].top <= 1);
        CHECK(seen[b].left - boxes[b].left <= 1);
        CHECK(boxes[b].bottom - seen[b].bottom <= 1);
        CHECK(boxes[b].right - seen[b].right <= 1);
      }
      for (const SceneCaption& caption : scene.captions) {
        const auto words = utf8::split(caption.text);
        for (size_t w = 0; w < words.size(); ++w) {
          const int64_t group = caption.group_of_word[w];
          const auto count = counts.find(words[w]);
          if (group >= 0 && count != counts.end()) {
            CHECK(scene.groups[static_cast<size_t>(group)].size() == count->second);
          }
          if (words[w] == "above" && w > 0) {
            const auto& upper = scene.groups[static_cast<size_t>(caption.group_of_word[w - 1])];
            const auto& lower = scene.groups[static_cast<size_t>(caption.group_of_word[w + 1])];
            CHECK(upper[0].bottom <= size / 2);
            CHECK(lower[0].top >= size / 2);
            ++above;
          }
        }
        CHECK(caption.text.find("a orange") == std::string::npos);
      }
    }
  }
  CHECK(above > 50);
}

TEST_CASE("scenes: attention in boxes; options", "[datasets][captioning][scenes]") {
  // Regions of 4 x 4 pixels; the box covers one of them, half of another one and a quarter of two more.
  const std::vector<SceneBox> boxes = {{0, 0, 4, 6}};
  std::vector<float> weights(4, 0.0f);
  weights[0] = 1;
  CHECK(attention_inside(weights, 2, 2, 8, boxes) == Catch::Approx(1));
  weights = {0.25f, 0.25f, 0.25f, 0.25f};
  CHECK(attention_inside(weights, 2, 2, 8, boxes) == Catch::Approx(24.0 / 64));
  weights = {0, 2, 0, 0};
  CHECK(attention_inside(weights, 2, 2, 8, boxes) == Catch::Approx(0.5));
  CHECK(attention_inside(std::vector<float>(9, 1.0f), 3, 3, 8, boxes) == Catch::Approx(24.0 / 64));
  CHECK(attention_inside(std::vector<float>(4, 0.0f), 2, 2, 8, boxes) == 0);
  CHECK(error_text<ValueError>([&] { attention_inside(weights, 3, 2, 8, boxes); }) ==
        "attention_inside: 4 weights for 3 x 2 regions, expected one for each");

  const auto scenes = generate_scenes({.count = 2, .references = 2});
  const auto pictures = to_captions(scenes);
  REQUIRE(pictures.size() == 2);
  CHECK(pictures[1].name == "scene1");
  CHECK(pictures[1].captions == std::vector<std::string>{scenes[1].captions[0].text, scenes[1].captions[1].text});
  CHECK(error_text<ValueError>([] { generate_scenes({.count = -1}); }) == "scenes: count is -1, expected 0 or more");
  CHECK(error_text<ValueError>([] { generate_scenes({.size = 8}); }) == "scenes: size is 8, expected at least 32");
  CHECK(error_text<ValueError>([] { generate_scenes({.references = 6}); }) ==
        "scenes: 6 references asked for, expected 1 to 5");
}

}  // namespace
}  // namespace attune

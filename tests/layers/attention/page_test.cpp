#include "layers/attention/page.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "framework/error.h"
#include "framework/random.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using Json = nlohmann::json;
using testing::error_text;
using Record = AttentionRecorder::Record;

/// Rows of positive weights that sum to 1.
Tensor random_weights(const Shape& shape, uint64_t seed = 1) {
  RandomStream random(seed);
  Tensor weights = Tensor::empty(shape);
  const int64_t columns = shape.dim(-1);
  for (int64_t row = 0; row < weights.numel() / columns; ++row) {
    auto* w = weights.data<float>() + row * columns;
    double sum = 0;
    for (int64_t s = 0; s < columns; ++s) sum += w[s] = static_cast<float>(-std::log(1 - random.uniform()));
    for (int64_t s = 0; s < columns; ++s) w[s] = static_cast<float>(w[s] / sum);
  }
  return weights;
}

AttentionExample translation() {
  AttentionExample example{.title = "a small dog",
                           .note = "un perro pequeño",
                           .sequences = {{"source", {"a", "small", "dog"}}, {"target", {"un", "perro"}}}};
  example.maps.push_back({"encoder.block0.attn", random_weights({2, 3, 3}), 0, 0});
  example.maps.push_back({"decoder.block0.cross", random_weights({4, 2, 3}), 1, 0});
  return example;
}

std::string page_of(const AttentionExample& example, const AttentionPageOptions& options = {}) {
  return attention_page({&example, 1}, options);
}

/// What the page's script reads.
Json data_of(const std::string& page) {
  constexpr std::string_view kBegin = "<script id=\"data\" type=\"application/json\">";
  const size_t begin = page.find(kBegin);
  REQUIRE(begin != std::string::npos);
  const size_t end = page.find("</script>", begin);
  return Json::parse(page.substr(begin + kBegin.size(), end - begin - kBegin.size()));
}

/// The same steps as decode() in page.js.
std::vector<double> decoded(const std::string& code) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto number = [&](size_t i) { return kDigits.find(code[i]) * 64 + kDigits.find(code[i + 1]); };
  std::vector<double> weights;
  for (size_t i = 0; i < code.size(); i += 2) {
    if (const size_t level = number(i); level > 0) {
      weights.push_back(static_cast<double>(level) / 4095);
    } else {
      i += 2;
      weights.insert(weights.end(), number(i), 0.0);
    }
  }
  return weights;
}

TEST_CASE("attention page: all weights, tokens and names are in it", "[attention][page]") {
  const AttentionExample example = translation();
  const Json data = data_of(page_of(example));
  CHECK(data["kept"] == 0);
  REQUIRE(data["examples"].size() == 1);
  const Json& shown = data["examples"][0];
  CHECK(shown["title"] == "a small dog");
  CHECK(shown["note"] == "un perro pequeño");
  CHECK(shown["sequences"] == Json::parse(R"([{"name": "source", "tokens": ["a", "small", "dog"]},
                                              {"name": "target", "tokens": ["un", "perro"]}])"));
  REQUIRE(shown["maps"].size() == 2);
  for (size_t m = 0; m < 2; ++m) {
    const AttentionMap& map = example.maps[m];
    CHECK(shown["maps"][m]["layer"] == map.layer);
    CHECK(shown["maps"][m]["queries"] == map.queries);
    CHECK(shown["maps"][m]["keys"] == map.keys);
    REQUIRE(shown["maps"][m]["heads"].size() == static_cast<size_t>(map.weights.dim(0)));
    for (int64_t h = 0; h < map.weights.dim(0); ++h) {
      const std::vector<double> weights = decoded(shown["maps"][m]["heads"][static_cast<size_t>(h)]);
      const std::vector<float> expected = map.weights.select(0, h).to_vector<float>();
      REQUIRE(weights.size() == expected.size());
      for (size_t i = 0; i < weights.size(); ++i) {
        CHECK(std::abs(weights[i] - static_cast<double>(expected[i])) <= 0.5 / 4095 + 1e-6);
      }
    }
  }
}

TEST_CASE("attention page: zeros, ones and rounding", "[attention][page]") {
  AttentionExample example{.sequences = {{"text", std::vector<std::string>(100, "x")}}};
  Tensor weights = Tensor::zeros({1, 100, 100});
  for (int64_t t = 0; t < 100; ++t) weights.data<float>()[t * 100 + t] = t == 7 ? 1.0005F : 1.0F;
  example.maps.push_back({"diagonal", weights, 0, 0});
  const std::string code = data_of(page_of(example))["examples"][0]["maps"][0]["heads"][0];
  CHECK(code.size() == 100 * 2 + 99 * 4);
  const std::vector<double> shown = decoded(code);
  REQUIRE(shown.size() == 10000);
  for (size_t i = 0; i < shown.size(); ++i) CHECK(shown[i] == (i % 101 == 0 ? 1.0 : 0.0));
  // More zeros than two digits count.
  example.maps[0].weights = Tensor::zeros({1, 100, 100});
  CHECK(decoded(data_of(page_of(example))["examples"][0]["maps"][0]["heads"][0]) == std::vector<double>(10000));
}

TEST_CASE("attention page: nothing in a text can leave its place", "[attention][page]") {
  AttentionExample example = translation();
  const std::string nasty = "</script><script>alert('<!--DATA-->')</script>\"\\\n\x01&amp;";
  example.title = nasty;
  example.note = nasty;
  example.sequences[0].name = nasty;
  example.sequences[0].tokens = {nasty, "\xff\xfe", ""};
  example.maps[0].layer = nasty;
  const std::string page = page_of(example, {.title = "<b>" + nasty});
  const Json shown = data_of(page)["examples"][0];
  CHECK(shown["title"] == nasty);
  CHECK(shown["note"] == nasty);
  CHECK(shown["sequences"][0]["name"] == nasty);
  CHECK(shown["sequences"][0]["tokens"] == Json::array({nasty, "\xef\xbf\xbd\xef\xbf\xbd", ""}));
  CHECK(shown["maps"][0]["layer"] == nasty);
  CHECK_THAT(page, !ContainsSubstring("<script>alert"));
  CHECK_THAT(page, ContainsSubstring("<title>&lt;b&gt;&lt;/script&gt;&lt;script&gt;alert('&lt;!--DATA--&gt;')"));
  // Two scripts and no third.
  size_t scripts = 0;
  for (size_t at = page.find("<script"); at != std::string::npos; at = page.find("<script", at + 1)) ++scripts;
  CHECK(scripts == 2);
}

TEST_CASE("attention page: it needs nothing but itself", "[attention][page]") {
  const std::string page = page_of(translation());
  CHECK(page.starts_with("<!DOCTYPE html>"));
  CHECK(page.size() < 40000);
  for (const char* outside : {"http:", "https:", "src=", "@import", "url(", "<link", "fetch("}) {
    INFO(outside);
    CHECK_THAT(page, !ContainsSubstring(outside));
  }
  CHECK_THAT(page, !ContainsSubstring("<!--"));
}

TEST_CASE("attention page: long texts keep the largest weights of each row", "[attention][page]") {
  AttentionExample example{.title = "long", .sequences = {{"text", std::vector<std::string>(300, "word")}}};
  example.maps.push_back({"attn", random_weights({8, 300, 300}), 0, 0});
  const std::string whole = page_of(example);
  CHECK(whole.size() > 1'000'000);
  CHECK(data_of(whole)["kept"] == 0);

  const std::string page = page_of(example, {.max_bytes = 400'000});
  CHECK(page.size() <= 400'000);
  const Json data = data_of(page);
  const size_t kept = data["kept"];
  CHECK(kept == 18);  // 300 / 16
  const std::vector<double> all = decoded(data_of(whole)["examples"][0]["maps"][0]["heads"][3]);
  const std::vector<double> some = decoded(data["examples"][0]["maps"][0]["heads"][3]);
  REQUIRE(some.size() == all.size());
  for (size_t row = 0; row < all.size(); row += 300) {
    double least_kept = 1;
    double most_dropped = 0;
    size_t count = 0;
    for (size_t i = row; i < row + 300; ++i) {
      if (some[i] > 0) {
        ++count;
        CHECK(some[i] == all[i]);
        least_kept = std::min(least_kept, some[i]);
      } else {
        most_dropped = std::max(most_dropped, all[i]);
      }
    }
    CHECK(count == kept);
    CHECK(least_kept >= most_dropped);
  }
}

TEST_CASE("attention page: records become maps", "[attention][page]") {
  AttentionExample example{.sequences = {{"source", {"a", "b", "c"}}, {"target", {"x", "y"}}}};
  const Tensor batch = random_weights({2, 4, 5, 6});
  example.add({"attn", batch.slice(3, 0, 5)}, 1, 0, 0);  // padded to 5
  REQUIRE(example.maps.size() == 1);
  CHECK(example.maps[0].layer == "attn");
  CHECK(example.maps[0].weights.shape() == Shape{4, 3, 3});
  CHECK(example.maps[0].weights.to_vector<float>() ==
        batch.select(0, 1).slice(1, 0, 3).slice(2, 0, 3).contiguous().to_vector<float>());

  // Step by step, as decoders do, the keys growing; between other sequences it is another map.
  const Tensor first = random_weights({1, 4, 1, 1}, 2);
  const Tensor second = random_weights({1, 4, 1, 2}, 3);
  example.add({"attn", first}, 0, 1, 1);
  example.add({"attn", second}, 0, 1, 1);
  REQUIRE(example.maps.size() == 2);
  const Tensor& steps = example.maps[1].weights;
  CHECK(steps.shape() == Shape{4, 2, 2});
  for (int64_t h = 0; h < 4; ++h) {
    const std::vector<float> rows = steps.select(0, h).to_vector<float>();
    CHECK(rows[0] == first.data<float>()[h]);
    CHECK(rows[1] == 0);
    CHECK(rows[2] == second.data<float>()[2 * h]);
    CHECK(rows[3] == second.data<float>()[2 * h + 1]);
  }
  CHECK(data_of(page_of(example))["examples"][0]["maps"].size() == 2);

  CHECK(
      error_text<ValueError>([&] {
        example.add({"attn", second}, 0, 1, 1);
      }) ==
      "attention example: layer 'attn': 'target' has 2 tokens and as many rows of weights already; clear the recorder "
      "between passes");
  CHECK(error_text<ValueError>([&] {
          example.add({"attn", first}, 1, 0, 0);
        }) == "attention example: layer 'attn': sample 1 asked for, expected 0 to 0");
  CHECK(error_text<ValueError>([&] {
          example.add({"attn", first}, 0, 0, 2);
        }) == "attention example: layer 'attn': sequence 2 asked for, expected 0 to 1");
  AttentionExample grown{.sequences = {{"target", {"x", "y"}}}};
  grown.add({"attn", first}, 0, 0, 0);
  CHECK(error_text<ShapeError>([&] {
          grown.add({"attn", random_weights({1, 2, 1, 2})}, 0, 0, 0);
        }) == "attention example: layer 'attn': 2 heads after 4 in earlier steps");
}

TEST_CASE("attention page: errors name example and layer", "[attention][page]") {
  const auto broken = [](const auto& change) {
    AttentionExample example = translation();
    change(example);
    return example;
  };
  const auto value_error = [&](const auto& change) {
    const AttentionExample example = broken(change);
    return error_text<ValueError>([&] { page_of(example); });
  };
  CHECK(error_text<ValueError>([] { attention_page({}); }) == "attention_page: no examples given, expected at least 1");
  CHECK(value_error([](AttentionExample& e) { e.maps.clear(); }) ==
        "attention_page: example 0 has no maps, expected at least 1");
  CHECK(value_error([](AttentionExample& e) { e.maps[1].queries = 2; }) ==
        "attention_page: example 0, layer 'decoder.block0.cross': sequence 2 asked for, expected 0 to 1");
  CHECK(value_error([](AttentionExample& e) { e.sequences[0].tokens.clear(); }) ==
        "attention_page: example 0, layer 'encoder.block0.attn': sequence 'source' has no tokens, expected some");
  CHECK(value_error([](AttentionExample& e) { e.maps[1].weights.data<float>()[6 * 3 + 4] = -0.5F; }) ==
        "attention_page: example 0, layer 'decoder.block0.cross': weight [3, 1, 1] is -0.5, expected 0 to 1");
  CHECK(value_error([](AttentionExample& e) {
          e.maps[1].weights.data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
        }) == "attention_page: example 0, layer 'decoder.block0.cross': weight [0, 0, 0] is nan, expected 0 to 1");
  CHECK(value_error([](AttentionExample& e) { e.maps[1].weights.data<float>()[0] = 1.1F; }) ==
        "attention_page: example 0, layer 'decoder.block0.cross': weight [0, 0, 0] is 1.1, expected 0 to 1");
  CHECK(error_text<ShapeError>([&] { page_of(broken([](AttentionExample& e) { e.maps[1].keys = 1; })); }) ==
        "attention_page: example 0, layer 'decoder.block0.cross': weights are [4, 2, 3], expected [H, 2, 2] for the "
        "tokens of 'target' and 'target'");
  CHECK(error_text<ShapeError>([&] { page_of(broken([](AttentionExample& e) { e.maps[0].weights = {}; })); }) ==
        "attention_page: example 0, layer 'encoder.block0.attn': weights are undefined, expected [H, 3, 3] for the "
        "tokens of 'source' and 'source'");
  CHECK(error_text<ValueError>([] { page_of(translation(), {.max_bytes = 1000}); }) ==
        "attention_page: 1 examples do not fit into 1000 bytes, even with one weight in each row; give fewer");
}

}  // namespace
}  // namespace attune

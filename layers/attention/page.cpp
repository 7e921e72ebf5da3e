#include "layers/attention/page.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <functional>
#include <string_view>
#include <utility>

#include "framework/fail.h"

namespace attune {
namespace embedded {
extern const std::string_view kAttentionPageHtml;
extern const std::string_view kAttentionPageScript;
}  // namespace embedded
namespace {

using Json = nlohmann::ordered_json;

// A weight has two base64 digits. Two zeros are followed by two digits that count weights of zero.
constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr int kLevels = 4095;
// Weights of a row may exceed 1 by rounding.
constexpr float kMost = 1.001F;

void put(std::string& code, int number) {
  code += kDigits[static_cast<size_t>(number / 64)];
  code += kDigits[static_cast<size_t>(number % 64)];
}

/// Sets all but the `kept` largest levels to zero.
void keep_largest(std::vector<int>& row, size_t kept) {
  if (kept >= row.size()) return;
  std::vector<int> sorted = row;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(kept), sorted.end(), std::greater<>());
  const int limit = sorted[kept];
  auto equal =
      static_cast<int64_t>(kept) - std::count_if(row.begin(), row.end(), [limit](int level) { return level > limit; });
  for (int& level : row) {
    if (level < limit || (level == limit && equal-- <= 0)) level = 0;
  }
}

/// weights: T rows of S.
std::string encode(std::span<const float> weights, size_t columns, size_t kept) {
  std::string code;
  int zeros = 0;
  const auto flush = [&] {
    if (zeros == 0) return;
    put(code, 0);
    put(code, std::exchange(zeros, 0));
  };
  std::vector<int> row(columns);
  for (; !weights.empty(); weights = weights.subspan(columns)) {
    std::transform(weights.begin(), weights.begin() + static_cast<std::ptrdiff_t>(columns), row.begin(),
                   [](float w) { return std::min(static_cast<int>(w * kLevels + 0.5F), kLevels); });
    keep_largest(row, kept);
    for (int level : row) {
      if (level == 0) {
        if (++zeros == kLevels) flush();
      } else {
        flush();
        put(code, level);
      }
    }
  }
  flush();
  return code;
}

/// How errors name a map.
std::string who(size_t example, const AttentionMap& map) {
  return fmt::format("attention_page: example {}, layer '{}'", example, map.layer);
}

void check_weights(const Tensor& weights, const std::string& name) {
  const auto* w = weights.data<float>();
  for (int64_t i = 0; i < weights.numel(); ++i) {
    if (w[i] >= 0 && w[i] <= kMost) [[likely]]
      continue;
    const int64_t rows = weights.dim(1);
    const int64_t columns = weights.dim(2);
    fail<ValueError>("{}: weight [{}, {}, {}] is {}, expected 0 to 1", name, i / columns / rows, i / columns % rows,
                     i % columns, w[i]);
  }
}

/// The map's weights as float32 on the CPU, checked.
Tensor checked_weights(size_t number, const AttentionExample& example, const AttentionMap& map) {
  const std::string name = who(number, map);
  for (size_t sequence : {map.queries, map.keys}) {
    require<ValueError>(sequence < example.sequences.size(), "{}: sequence {} asked for, expected 0 to {}", name,
                        sequence, static_cast<int64_t>(example.sequences.size()) - 1);
    require<ValueError>(!example.sequences[sequence].tokens.empty(), "{}: sequence '{}' has no tokens, expected some",
                        name, example.sequences[sequence].name);
  }
  const auto rows = static_cast<int64_t>(example.sequences[map.queries].tokens.size());
  const auto columns = static_cast<int64_t>(example.sequences[map.keys].tokens.size());
  require<ShapeError>(map.weights.defined() && map.weights.rank() == 3 && map.weights.dim(0) > 0 &&
                          map.weights.dim(1) == rows && map.weights.dim(2) == columns,
                      "{}: weights are {}, expected [H, {}, {}] for the tokens of '{}' and '{}'", name,
                      map.weights.defined() ? map.weights.shape().to_string() : "undefined", rows, columns,
                      example.sequences[map.queries].name, example.sequences[map.keys].name);
  Tensor weights = map.weights.to(Device::cpu()).to(DType::kFloat32).contiguous();
  check_weights(weights, name);
  return weights;
}

std::string escaped(std::string_view text) {
  std::string html;
  for (char c : text) {
    switch (c) {
      case '&':
        html += "&amp;";
        break;
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      default:
        html += c;
    }
  }
  return html;
}

/// Text that may stand in an element <script>, which ends at the first "</script" wherever that is.
std::string dumped(const Json& json) {
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string safe;
  safe.reserve(text.size());
  for (char c : text) {
    if (c == '<') {
      safe += "\\u003c";
    } else {
      safe += c;
    }
  }
  return safe;
}

/// The template with its marks replaced; what is put in is not searched for marks.
std::string filled(std::string_view html, std::initializer_list<std::pair<std::string_view, std::string_view>> values) {
  std::string page;
  while (!html.empty()) {
    const size_t mark = std::min(html.find("<!--"), html.size());
    page += html.substr(0, mark);
    html.remove_prefix(mark);
    const auto* found =
        std::find_if(values.begin(), values.end(), [&](const auto& value) { return html.starts_with(value.first); });
    if (found == values.end()) {
      page += html.substr(0, 1);
      html.remove_prefix(std::min<size_t>(1, html.size()));
    } else {
      page += found->second;
      html.remove_prefix(found->first.size());
    }
  }
  return page;
}

Json outline(const AttentionExample& example) {
  Json sequences = Json::array();
  for (const TokenSequence& sequence : example.sequences) {
    sequences.push_back({{"name", sequence.name}, {"tokens", sequence.tokens}});
  }
  Json maps = Json::array();
  for (const AttentionMap& map : example.maps) {
    maps.push_back({{"layer", map.layer}, {"queries", map.queries}, {"keys", map.keys}});
  }
  return {{"title", example.title}, {"note", example.note}, {"sequences", sequences}, {"maps", maps}};
}

}  // namespace

void AttentionExample::add(const AttentionRecorder::Record& record, int64_t sample, size_t queries, size_t keys) {
  const std::string name = fmt::format("attention example: layer '{}'", record.path);
  const Tensor& batch = record.weights;  // [B, H, T, S]
  require<ValueError>(sample >= 0 && sample < batch.dim(0), "{}: sample {} asked for, expected 0 to {}", name, sample,
                      batch.dim(0) - 1);
  require<ValueError>(std::max(queries, keys) < sequences.size(), "{}: sequence {} asked for, expected 0 to {}", name,
                      std::max(queries, keys), static_cast<int64_t>(sequences.size()) - 1);
  const auto rows = static_cast<int64_t>(sequences[queries].tokens.size());
  const auto columns = static_cast<int64_t>(sequences[keys].tokens.size());
  auto map = std::find_if(maps.begin(), maps.end(), [&](const AttentionMap& other) {
    return other.layer == record.path && other.queries == queries && other.keys == keys;
  });
  const int64_t before = map == maps.end() ? 0 : map->weights.dim(1);
  require<ValueError>(before < rows,
                      "{}: '{}' has {} tokens and as many rows of weights already; clear the recorder between passes",
                      name, sequences[queries].name, rows);
  require<ShapeError>(before == 0 || map->weights.dim(0) == batch.dim(1), "{}: {} heads after {} in earlier steps",
                      name, batch.dim(1), before == 0 ? 0 : map->weights.dim(0));
  const int64_t added = std::min(batch.dim(2), rows - before);
  const int64_t known = std::min(batch.dim(3), columns);
  Tensor all = Tensor::zeros({batch.dim(1), before + added, columns});
  if (before > 0) all.slice(1, 0, before).copy_(map->weights);
  const Tensor cut = batch.select(0, sample).slice(1, 0, added).slice(2, 0, known);
  all.slice(1, before, before + added).slice(2, 0, known).copy_(cut.to(Device::cpu()));
  if (map == maps.end()) {
    maps.push_back({record.path, all, queries, keys});
  } else {
    map->weights = all;
  }
}

std::string attention_page(std::span<const AttentionExample> examples, const AttentionPageOptions& options) {
  require<ValueError>(!examples.empty(), "attention_page: no examples given, expected at least 1");
  Json data{{"kept", 0}, {"examples", Json::array()}};
  std::vector<std::vector<Tensor>> weights;
  int64_t longest_row = 1;
  for (size_t e = 0; e < examples.size(); ++e) {
    require<ValueError>(!examples[e].maps.empty(), "attention_page: example {} has no maps, expected at least 1", e);
    data["examples"].push_back(outline(examples[e]));
    weights.emplace_back();
    for (const AttentionMap& map : examples[e].maps) {
      weights.back().push_back(checked_weights(e, examples[e], map));
      longest_row = std::max(longest_row, map.weights.dim(2));
    }
  }

  const std::string title = escaped(options.title);
  for (auto kept = static_cast<size_t>(longest_row); kept > 0; kept /= 2) {
    for (size_t e = 0; e < weights.size(); ++e) {
      for (size_t m = 0; m < weights[e].size(); ++m) {
        const Tensor& map = weights[e][m];
        const auto columns = static_cast<size_t>(map.dim(2));
        const auto size = static_cast<size_t>(map.dim(1)) * columns;
        Json heads = Json::array();
        for (size_t h = 0; h < static_cast<size_t>(map.dim(0)); ++h) {
          heads.push_back(encode({map.data<float>() + h * size, size}, columns, kept));
        }
        data["examples"][e]["maps"][m]["heads"] = std::move(heads);
      }
    }
    if (kept < static_cast<size_t>(longest_row)) data["kept"] = kept;
    std::string page = filled(
        embedded::kAttentionPageHtml,
        {{"<!--TITLE-->", title}, {"<!--DATA-->", dumped(data)}, {"<!--SCRIPT-->", embedded::kAttentionPageScript}});
    if (page.size() <= options.max_bytes) return page;
  }
  fail<ValueError>("attention_page: {} examples do not fit into {} bytes, even with one weight in each row; give fewer",
                   examples.size(), options.max_bytes);
}

}  // namespace attune

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>

#include "examples/gradcheck/html_page.h"
#include "examples/gradcheck/report.h"
#include "framework/version.h"

namespace attune::examples {
namespace {

using Json = nlohmann::ordered_json;

std::string dump_indented(const Json& json) { return json.dump(1, ' ', false, Json::error_handler_t::replace) + '\n'; }

std::vector<int64_t> values(const Shape& shape) { return {shape.begin(), shape.end()}; }

/// A letter per element: '.' not compared, '0' ... '9' the decimal logarithm of the distance from the tolerance, 8
/// being the first that is beyond it.
std::string heat(const GradcheckEntry& entry) {
  std::string text;
  for (const float distance : entry.distances) {
    if (std::isnan(distance)) {
      text += '.';
    } else if (distance <= 1e-7f) {
      text += '0';
    } else {
      text += static_cast<char>('0' + std::min(9, static_cast<int>(std::ceil(std::log10(distance))) + 7));
    }
  }
  return text;
}

Json to_json(const GradcheckEntry& e, bool with_heat) {
  Json json = {{"name", e.name},
               {"shape", values(e.shape)},
               {"verdict", verdict_name(e.verdict)},
               {"checked", e.checked},
               {"failed", e.failed},
               {"noisy", e.noisy},
               {"kinks", e.kinks},
               {"zeros", e.zeros},
               {"max_absolute", e.max_absolute},
               {"max_relative", e.max_relative},
               {"relative_difference", e.relative_difference},
               {"cosine", e.cosine},
               {"worst",
                {{"index", values(e.worst_index)},
                 {"at", e.worst},
                 {"analytic", e.analytic},
                 {"numeric", e.numeric},
                 {"numeric_error", e.numeric_error},
                 {"tolerance", e.tolerance}}}};
  if (!e.note.empty()) json["note"] = e.note;
  if (with_heat) json["heat"] = heat(e);
  return json;
}

// What a page holds stays small: elements that a picture shows, and cases of a layer besides those that fail.
constexpr size_t kHeatLimit = 2048;
constexpr int kShownCases = 10;

enum class Detail { kEverything, kPage };

Json to_json(const CaseResult& result, Detail detail) {
  Json extents = Json::object();
  for (const auto& [letter, extent] : result.draw.extents) extents[letter] = extent;
  Json mask = Json::array();
  for (const MaskPart part : result.draw.mask) mask.push_back(mask_part_name(part));
  Json json = {{"options", Json::parse(result.options)}, {"seed", result.draw.seed},
               {"extents", std::move(extents)},          {"mask", std::move(mask)},
               {"verdict", verdict_of(result)},          {"seconds", result.seconds}};
  if (!result.error.empty()) json["error"] = result.error;
  if (!result.code.empty()) json["code"] = result.code;
  json["gradients"] = Json::array();
  for (const GradcheckEntry& entry : result.report.entries) {
    json["gradients"].push_back(to_json(entry, detail == Detail::kPage && entry.distances.size() <= kHeatLimit));
  }
  return json;
}

bool all_ok(const std::vector<CaseResult>& results) {
  return std::all_of(results.begin(), results.end(), [](const CaseResult& result) { return result.ok(); });
}

Json to_json(const std::vector<CaseResult>& results, const RunDescription& run, Detail detail) {
  Json json = {
      {"program", "attune-gradcheck"}, {"version", kVersion}, {"ok", all_ok(results)},  {"dtype", run.dtype},
      {"device", run.device},          {"seed", run.seed},    {"seconds", run.seconds}, {"processor", run.processor},
      {"layers", Json::array()}};
  for (const LayerSummary& layer : summarise(results)) {
    Json item = {{"name", layer.row->name},    {"what", layer.row->what},
                 {"verdict", layer.verdict},   {"case_count", layer.cases.size()},
                 {"gradients", layer.tensors}, {"elements", layer.elements},
                 {"zeros", layer.zeros},       {"relative_difference", layer.relative_difference},
                 {"seconds", layer.seconds},   {"cases", Json::array()}};
    int shown = 0;
    for (const CaseResult* result : layer.cases) {
      if (detail == Detail::kPage && result->ok() && ++shown > kShownCases) continue;
      item["cases"].push_back(to_json(*result, detail));
    }
    json["layers"].push_back(std::move(item));
  }
  return json;
}

/// For XML and for the inside of a script: no character that either takes for its own.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        // XML 1.0 has no other control characters.
        out += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? '?' : c;
    }
  }
  return out;
}

}  // namespace

std::string json_report(const std::vector<CaseResult>& results, const RunDescription& run) {
  return dump_indented(to_json(results, run, Detail::kEverything));
}

std::string junit_report(const std::vector<CaseResult>& results, const RunDescription& run) {
  const auto failures = [](const LayerSummary& layer, bool errors) {
    return std::count_if(layer.cases.begin(), layer.cases.end(), [errors](const CaseResult* result) {
      return errors ? !result->error.empty() : result->error.empty() && !result->ok();
    });
  };
  std::string xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
  xml +=
      fmt::format("<testsuites name=\"attune-gradcheck\" tests=\"{}\" time=\"{:.3f}\">\n", results.size(), run.seconds);
  for (const LayerSummary& layer : summarise(results)) {
    xml +=
        fmt::format(" <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{:.3f}\">\n",
                    layer.row->name, layer.cases.size(), failures(layer, false), failures(layer, true), layer.seconds);
    for (const CaseResult* result : layer.cases) {
      xml += fmt::format("  <testcase classname=\"gradcheck.{}.{}\" name=\"{} {}\" time=\"{:.3f}\"", run.dtype,
                         layer.row->name, escaped(result->options), escaped(result->draw.to_string()), result->seconds);
      if (result->ok()) {
        xml += "/>\n";
        continue;
      }
      const bool threw = !result->error.empty();
      xml += fmt::format(">\n   <{0} type=\"{1}\" message=\"{2}\">{3}\n{4}</{0}>\n  </testcase>\n",
                         threw ? "error" : "failure", verdict_of(*result),
                         escaped(threw ? result->error : fmt::format("the gradient is {}", verdict_of(*result))),
                         escaped(result->report.to_string()), escaped(result->code));
    }
    xml += " </testsuite>\n";
  }
  return xml + "</testsuites>\n";
}

std::string html_report(const std::vector<CaseResult>& results, const RunDescription& run) {
  std::string data = to_json(results, run, Detail::kPage).dump(-1, ' ', true, Json::error_handler_t::replace);
  // Inside a script only "</" could end it.
  for (size_t at = 0; (at = data.find("</", at)) != std::string::npos; at += 3) data.insert(at + 1, "\\");
  return kHtmlHead + data + kHtmlTail;
}

}  // namespace attune::examples

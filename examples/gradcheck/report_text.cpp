#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "examples/gradcheck/report.h"
#include "examples/support/program.h"
#include "examples/support/table.h"

namespace attune::examples {
namespace {

using Align = Table::Align;

const std::vector<std::string> kBySeverity = {"OK", "NOISE", "KINK", "WRONG", "ERROR"};

size_t severity(const std::string& verdict) {
  return static_cast<size_t>(std::find(kBySeverity.begin(), kBySeverity.end(), verdict) - kBySeverity.begin());
}

/// Verdicts at the beginning of lines in green, yellow and red.
std::string coloured(const std::string& text) {
  std::string out;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    std::string line = text.substr(begin, end - begin);
    for (const std::string& verdict : kBySeverity) {
      if (!line.starts_with(verdict)) continue;
      const char* colour = verdict == "OK" ? "32" : verdict == "NOISE" || verdict == "KINK" ? "33" : "1;31";
      line = fmt::format("\x1b[{}m{}\x1b[0m{}", colour, verdict, line.substr(verdict.size()));
      break;
    }
    out += line + '\n';
    begin = end + 1;
  }
  return out;
}

std::string number(double value) { return value == 0 ? "0" : fmt::format("{:.1e}", value); }

/// One input or parameter over all cases of its layer.
struct Row {
  std::string verdict = "OK";
  int64_t elements = 0;
  int64_t failed = 0;
  double absolute = 0;
  double relative = 0;
  double norm = 0;
  double cosine = 1;
  const GradcheckEntry* worst = nullptr;
};

void add(Row& row, const GradcheckEntry& entry) {
  const std::string verdict = verdict_name(entry.verdict);
  row.elements += entry.checked;
  row.failed += entry.failed;
  row.absolute = std::max(row.absolute, entry.max_absolute);
  row.relative = std::max(row.relative, entry.max_relative);
  row.norm = std::max(row.norm, entry.relative_difference);
  row.cosine = std::min(row.cosine, entry.cosine);
  const auto distance = [](const GradcheckEntry& e) {
    return e.tolerance > 0 ? std::abs(e.analytic - e.numeric) / e.tolerance : e.failed > 0 ? HUGE_VAL : 0;
  };
  if (row.worst == nullptr || severity(verdict) > severity(row.verdict) ||
      (verdict == row.verdict && distance(entry) > distance(*row.worst))) {
    row.worst = &entry;
  }
  if (severity(verdict) > severity(row.verdict)) row.verdict = verdict;
}

std::string worst_element(const GradcheckEntry& entry) {
  if (entry.worst.empty()) return "";
  return fmt::format("{} of {}: {:.6g}, expected {:.6g}{}", entry.worst, entry.shape.to_string(), entry.analytic,
                     entry.numeric, entry.numeric_error > 0 ? fmt::format(" +- {:.0e}", entry.numeric_error) : "");
}

std::string layer_details(const LayerSummary& layer) {
  std::vector<std::string> names;
  std::map<std::string, Row> rows;
  for (const CaseResult* result : layer.cases) {
    for (const GradcheckEntry& entry : result->report.entries) {
      if (!rows.contains(entry.name)) names.push_back(entry.name);
      add(rows[entry.name], entry);
    }
  }
  Table table({{"verdict"},
               {"gradient of"},
               {"elements", Align::kRight},
               {"failed", Align::kRight},
               {"absolute", Align::kRight},
               {"relative", Align::kRight},
               {"norm", Align::kRight},
               {"cosine", Align::kRight},
               {"worst element"}});
  for (const std::string& name : names) {
    const Row& row = rows[name];
    table.add({row.verdict, name, with_commas(row.elements), with_commas(row.failed), number(row.absolute),
               number(row.relative), number(row.norm), fmt::format("{:.6f}", row.cosine), worst_element(*row.worst)});
  }
  return fmt::format("\n{}: {}\n{}", layer.row->name, layer.row->what, table.to_string());
}

std::string failure(const CaseResult& result) {
  std::string text =
      fmt::format("\n{} {} {}: {}\n", verdict_of(result), result.layer, result.options, result.draw.to_string());
  if (!result.error.empty()) text += fmt::format("  {}\n", one_line(result.error));
  for (const GradcheckEntry& entry : result.report.entries) {
    if (entry.ok()) continue;
    text += fmt::format(
        "  {:5} {} {}: {} of {} elements differ, {} zeros checked; absolute {:.2e}, relative {:.2e}, norm {:.2e}, "
        "cosine {:.4f}\n        worst at {}\n",
        verdict_name(entry.verdict), entry.name, entry.shape.to_string(), entry.failed, entry.checked, entry.zeros,
        entry.max_absolute, entry.max_relative, entry.relative_difference, entry.cosine, worst_element(entry));
    if (!entry.note.empty()) text += fmt::format("        {}\n", entry.note);
  }
  return text + "\n" + result.code;
}

}  // namespace

std::vector<LayerSummary> summarise(const std::vector<CaseResult>& results) {
  std::vector<LayerSummary> layers;
  for (const CaseResult& result : results) {
    if (layers.empty() || layers.back().row->name != result.layer) {
      layers.emplace_back();
      layers.back().row = &find_row(result.layer);
      layers.back().verdict = "OK";
    }
    LayerSummary& layer = layers.back();
    layer.cases.push_back(&result);
    if (severity(verdict_of(result)) > severity(layer.verdict)) layer.verdict = verdict_of(result);
    layer.seconds += result.seconds;
    for (const GradcheckEntry& entry : result.report.entries) {
      ++layer.tensors;
      layer.elements += entry.checked;
      layer.zeros += entry.zeros;
      layer.relative_difference = std::max(layer.relative_difference, entry.relative_difference);
    }
  }
  return layers;
}

std::string text_report(const std::vector<CaseResult>& results, bool details, bool colours) {
  const std::vector<LayerSummary> layers = summarise(results);
  Table table({{"verdict"},
               {"layer"},
               {"cases", Align::kRight},
               {"gradients", Align::kRight},
               {"elements", Align::kRight},
               {"zeros", Align::kRight},
               {"norm of difference", Align::kRight},
               {"seconds", Align::kRight}});
  for (const LayerSummary& layer : layers) {
    table.add({layer.verdict, layer.row->name, with_commas(std::ssize(layer.cases)), with_commas(layer.tensors),
               with_commas(layer.elements), with_commas(layer.zeros), number(layer.relative_difference),
               fmt::format("{:.1f}", layer.seconds)});
  }
  std::string text = table.to_string();
  for (const LayerSummary& layer : layers) {
    if (details) text += layer_details(layer);
  }
  // One failing case of each layer shows what is wrong; all are in the other reports.
  int64_t failing = 0;
  for (const LayerSummary& layer : layers) {
    bool shown = false;
    for (const CaseResult* result : layer.cases) {
      if (result->ok()) continue;
      ++failing;
      if (!shown) text += failure(*result);
      shown = true;
    }
  }
  text += fmt::format("\n{} of {} cases of {} layers OK\n", with_commas(std::ssize(results) - failing),
                      with_commas(std::ssize(results)), layers.size());
  return colours ? coloured(text) : text;
}

}  // namespace attune::examples

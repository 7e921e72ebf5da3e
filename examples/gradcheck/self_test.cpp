#include "examples/gradcheck/self_test.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

#include "examples/support/program.h"
#include "examples/support/table.h"
#include "framework/random.h"

namespace attune::examples {
namespace {

// A small case may hide a fault: one row has no next row.
constexpr int kAttempts = 12;
constexpr int64_t kElements = 12;  // per gradient

}  // namespace

FaultResult try_fault(const Fault& fault, uint64_t seed) {
  FaultResult result;
  result.fault = &fault;
  const LayerRow& row = find_row(fault.layer);
  const Options options = parse_options(fault.layer, row.options, fault.options);
  RandomStream random(seed);
  while (!result.caught && result.attempts < kAttempts) {
    ++result.attempts;
    const PlannedCase planned{&row, options, random_draw(row, fault.mask, random.next_uint32())};
    FaultInjection injection(fault);
    const CaseResult found =
        run_case(planned, {.max_elements = kElements, .shrink = false, .made = [&](const Case& made) {
                             injection.set_constants(made.constants);
                           }});
    result.reached |= injection.reached();
    for (const GradcheckEntry& entry : found.report.entries) {
      if (entry.verdict != GradientVerdict::kWrong || result.caught) continue;
      result.caught = true;
      result.gradient = entry.name;
    }
  }
  return result;
}

int64_t SelfTestResult::caught() const {
  return std::count_if(faults.begin(), faults.end(), [](const FaultResult& f) { return f.caught; });
}

bool SelfTestResult::ok() const { return caught() * 100 >= 95 * std::ssize(faults) && false_alarms.empty(); }

SelfTestResult self_test(uint64_t seed, int64_t correct, const std::function<void(int64_t, int64_t)>& progress) {
  SelfTestResult result;
  const int64_t total = std::ssize(faults()) + correct;
  int64_t done = 0;
  for (const Fault& fault : faults()) {
    result.faults.push_back(try_fault(fault, seed));
    progress(++done, total);
  }
  RandomStream random(seed);
  const std::vector<LayerRow>& rows = catalogue();
  for (int64_t i = 0; i < correct; ++i) {
    const LayerRow& row = rows[static_cast<size_t>(i) % rows.size()];
    std::vector<MaskPart> mask;
    for (const MaskPart part : row.mask_parts) {
      if (random.below(4) == 0) mask.push_back(part);
    }
    const uint64_t own = random.next_uint32();
    CaseResult found = run_case({&row, random_options(row, own), random_draw(row, std::move(mask), own)},
                                {.max_elements = kElements, .shrink = false});
    ++result.correct_cases;
    if (!found.ok()) result.false_alarms.push_back(std::move(found));
    progress(++done, total);
  }
  return result;
}

const Fault& find_fault(std::string_view name) {
  std::vector<std::string> names;
  for (const Fault& fault : faults()) {
    if (fault.name == name) return fault;
    names.push_back(fault.name);
  }
  throw UsageError(fmt::format("unknown fault '{}', the nearest is '{}'", name, nearest(name, names)));
}

std::string text_report(const SelfTestResult& result, bool colours) {
  const char* good = colours ? "\x1b[32m" : "";
  const char* bad = colours ? "\x1b[1;31m" : "";
  const char* plain = colours ? "\x1b[0m" : "";
  Table table({{"fault"}, {"layer"}, {"noticed in"}, {"cases", Table::Align::kRight}, {"result"}});
  for (const FaultResult& f : result.faults) {
    table.add({f.fault->name, f.fault->layer, f.gradient, std::to_string(f.attempts),
               f.caught    ? "caught"
               : f.reached ? "MISSED"
                           : "MISSED, never reached"});
  }
  std::string text = table.to_string();
  for (const CaseResult& alarm : result.false_alarms) {
    text += fmt::format("\n{}false alarm{}: {} {}: {}\n{}{}\n", bad, plain, alarm.layer, alarm.options,
                        alarm.draw.to_string(), alarm.report.to_string(), alarm.error);
  }
  const auto count = std::ssize(result.faults);
  text += fmt::format("\n{}{} of {} faults caught ({:.1f} %), {} false alarms in {} correct cases{}\n",
                      result.ok() ? good : bad, result.caught(), count,
                      100.0 * static_cast<double>(result.caught()) / static_cast<double>(count),
                      result.false_alarms.size(), with_commas(result.correct_cases), plain);
  return text;
}

std::string json_report(const SelfTestResult& result) {
  nlohmann::ordered_json json = {{"program", "attune-gradcheck"},
                                 {"ok", result.ok()},
                                 {"caught", result.caught()},
                                 {"faults", nlohmann::ordered_json::array()},
                                 {"correct_cases", result.correct_cases},
                                 {"false_alarms", nlohmann::ordered_json::array()}};
  for (const FaultResult& f : result.faults) {
    json["faults"].push_back({{"name", f.fault->name},
                              {"layer", f.fault->layer},
                              {"caught", f.caught},
                              {"reached", f.reached},
                              {"cases", f.attempts},
                              {"noticed_in", f.gradient}});
  }
  for (const CaseResult& alarm : result.false_alarms) {
    json["false_alarms"].push_back(
        {{"layer", alarm.layer}, {"options", alarm.options}, {"draw", alarm.draw.to_string()}});
  }
  return json.dump(1) + '\n';
}

}  // namespace attune::examples

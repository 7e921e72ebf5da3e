#include "examples/gradcheck/run.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <unordered_set>

#include "autograd/tape.h"
#include "framework/random.h"

namespace attune::examples {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kShrinkingTime = std::chrono::seconds(20);
constexpr int64_t kLargeScale = 10;
constexpr int64_t kLargeElements = 64;  // of a gradient whose projections disagree

/// The parameters of the built case are shared ones once, as everywhere.
void add_parameters(const Module& module, NamedLeaves& leaves) {
  std::unordered_set<const Leaf*> seen;
  for (const auto& [name, parameter] : module.named_parameters()) {
    if (parameter.requires_grad() && seen.insert(parameter.leaf().get()).second) leaves.emplace_back(name, parameter);
  }
}

/// Another dtype or device, with values that float64 holds too.
void convert(BuiltCase& built, const RunSettings& settings) {
  Module& module = *built.made.module;
  module.to(settings.mixed ? DType::kFloat32 : settings.dtype);
  module.to(settings.device);
  if (settings.mixed) module.set_precision(Precision::kBFloat16);
  for (Variable& input : built.inputs) {
    input.leaf()->value = input.value().to(settings.dtype).to(settings.device);
  }
}

void copy_values(const BuiltCase& from, BuiltCase& to) {
  for (size_t i = 0; i < to.leaves.size(); ++i) {
    Tensor(to.leaves[i].second.value()).copy_(from.leaves[i].second.value().to(Device::cpu()));
  }
}

GradcheckReport check(const PlannedCase& planned, const RunSettings& settings) {
  const BuiltCase built = build_case(planned);
  if (settings.made) settings.made(built.made);
  const GradcheckOptions options = check_options(planned, built, settings);
  const uint64_t seed = planned.draw.seed;
  if (settings.dtype == DType::kFloat64 && settings.device.is_cpu()) {
    return gradcheck(built.subject(seed).f, built.leaves, options);
  }
  BuiltCase judged = build_case(planned);
  BuiltCase reference = build_case(planned);
  convert(judged, settings);
  copy_values(judged, reference);
  return gradcheck_against_float64(reference.subject(seed), judged.subject(seed), options);
}

void run_into(const PlannedCase& planned, const RunSettings& settings, CaseResult& result) {
  try {
    result.report = check(planned, settings);
    result.error.clear();
  } catch (const std::exception& error) {
    Tape::current().clear();
    result.report = {};
    result.error = error.what();
  }
}

/// Draws that are a little smaller.
std::vector<Draw> smaller(const LayerRow& row, const Draw& draw) {
  std::vector<Draw> out;
  for (size_t i = 0; i < draw.mask.size(); ++i) {
    out.push_back(draw);
    out.back().mask.erase(out.back().mask.begin() + static_cast<std::ptrdiff_t>(i));
  }
  for (size_t i = 0; i < draw.extents.size(); ++i) {
    const int64_t now = draw.extents[i].second;
    const int64_t low = row.extents[i].low;
    for (const int64_t next : {low, (low + now) / 2, now - 1}) {
      if (next >= now || next < low) continue;
      out.push_back(draw);
      out.back().extents[i].second = next;
    }
  }
  return out;
}

/// Takes every step to a smaller case that fails in the same way, until there is none.
void shrink(PlannedCase& planned, const RunSettings& settings, CaseResult& result) {
  const std::string verdict = verdict_of(result);
  const auto deadline = Clock::now() + kShrinkingTime;
  for (bool smaller_found = true; smaller_found && Clock::now() < deadline;) {
    smaller_found = false;
    for (Draw& candidate : smaller(*planned.row, planned.draw)) {
      const PlannedCase attempt{planned.row, planned.options, candidate, planned.large};
      CaseResult shrunk = result;
      run_into(attempt, settings, shrunk);
      if (verdict_of(shrunk) != verdict) continue;
      planned.draw = shrunk.draw = std::move(candidate);
      result = std::move(shrunk);
      smaller_found = true;
      break;
    }
  }
}

}  // namespace

const char* verdict_of(const CaseResult& result) {
  if (!result.error.empty()) return "ERROR";
  GradientVerdict worst = GradientVerdict::kOk;
  for (const GradientVerdict verdict : {GradientVerdict::kNoise, GradientVerdict::kKink, GradientVerdict::kWrong}) {
    for (const GradcheckEntry& entry : result.report.entries) {
      if (entry.verdict == verdict) worst = verdict;
    }
  }
  return verdict_name(worst);
}

std::vector<PlannedCase> plan_cases(const LayerRow& row, const Options* fixed, int random, int large, uint64_t seed) {
  std::vector<PlannedCase> cases;
  RandomStream stream(seed);
  const auto add = [&](std::vector<MaskPart> mask, bool defaults, int64_t scale) {
    const uint64_t own = stream.next_uint32();
    const Options options = fixed != nullptr ? *fixed : defaults ? Options(row.options) : random_options(row, own);
    cases.push_back({&row, options, random_draw(row, std::move(mask), own, scale), scale > 1});
  };
  add({}, true, 1);
  for (const MaskPart part : row.mask_parts) add({part}, false, 1);
  for (int i = 0; i < random + large; ++i) {
    std::vector<MaskPart> mask;
    for (const MaskPart part : row.mask_parts) {
      if (stream.below(5) < 2) mask.push_back(part);
    }
    add(std::move(mask), false, i < random ? 1 : kLargeScale);
  }
  return cases;
}

BuiltCase build_case(const PlannedCase& planned) {
  const uint64_t seed = planned.draw.seed;
  manual_seed(seed);
  BuiltCase built;
  built.made = planned.row->make(planned.options, planned.draw);
  built.made.module->to(DType::kFloat64);
  RandomStream random(seed);
  for (const auto& [name, parameter] : built.made.module->named_parameters()) {
    Tensor(parameter.value()).copy_(random.normal(parameter.shape(), 0, 0.5, DType::kFloat64));
  }
  add_parameters(*built.made.module, built.leaves);
  for (const Case::Input& input : built.made.inputs) {
    built.inputs.emplace_back(random.normal(input.shape, 0, 1, DType::kFloat64), true);
    built.leaves.emplace_back(input.name, built.inputs.back());
  }
  return built;
}

GradcheckSubject BuiltCase::subject(uint64_t seed) const {
  return {[this, seed] {
            manual_seed(seed);
            return made.call(inputs);
          },
          leaves};
}

GradcheckOptions check_options(const PlannedCase& planned, const BuiltCase& built, const RunSettings& settings) {
  GradcheckOptions options;
  options.seed = planned.draw.seed;
  options.max_elements = settings.max_elements;
  options.seconds = settings.seconds;
  if (planned.large) {
    options.mode = GradcheckMode::kProjections;
    options.max_elements = kLargeElements;
  }
  options.zeros = built.made.zeros;
  for (const Case::Input& input : built.made.inputs) options.axes.emplace_back(input.name, input.axes);
  for (const auto& [name, leaf] : built.leaves) {
    if (leaf.rank() == 2 && name.ends_with("weight")) options.axes.emplace_back(name, "row column");
    if (leaf.rank() == 1) options.axes.emplace_back(name, "i");
  }
  return options;
}

CaseResult run_case(const PlannedCase& given, const RunSettings& settings) {
  PlannedCase planned = given;
  const auto start = Clock::now();
  CaseResult result;
  result.layer = planned.row->name;
  result.options = planned.options.json();
  result.draw = planned.draw;
  run_into(planned, settings, result);
  if (!result.ok() && settings.shrink) {
    shrink(planned, settings, result);
    result.code = code_of(planned);
  }
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return result;
}

std::vector<CaseResult> run_cases(const std::vector<PlannedCase>& cases, RunSettings settings, double seconds,
                                  const std::function<void(const CaseResult&, int64_t)>& progress) {
  // By round, then by place: the k-th case of every layer belongs to round k.
  std::vector<std::pair<size_t, size_t>> order;
  for (size_t i = 0; i < cases.size(); ++i) {
    const bool same_layer = i > 0 && cases[i].row == cases[i - 1].row;
    order.emplace_back(same_layer && seconds > 0 ? order.back().first + 1 : 0, i);
  }
  std::stable_sort(order.begin(), order.end());
  const auto start = Clock::now();
  std::vector<std::pair<size_t, CaseResult>> results;
  for (size_t k = 0; k < order.size(); ++k) {
    if (seconds > 0) {
      const double left = seconds - std::chrono::duration<double>(Clock::now() - start).count();
      if (left <= 0 && order[k].first > 0) break;
      settings.seconds = std::max(left / static_cast<double>(order.size() - k), 1e-6);
    }
    results.emplace_back(order[k].second, run_case(cases[order[k].second], settings));
    progress(results.back().second, std::ssize(results));
  }
  std::stable_sort(results.begin(), results.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<CaseResult> out;
  for (auto& result : results) out.push_back(std::move(result.second));
  return out;
}

}  // namespace attune::examples

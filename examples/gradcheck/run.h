#pragma once

#include <functional>
#include <string>
#include <vector>

#include "examples/gradcheck/catalogue.h"
#include "framework/device.h"

namespace attune::examples {

struct RunSettings {
  DType dtype = DType::kFloat64;  ///< float64: judged by numeric derivatives; others: by the gradients of float64
  bool mixed = false;             ///< dtype bfloat16: parameters stay float32
  Device device = Device::cpu();
  int64_t max_elements = 0;                 ///< per input and parameter; 0: all
  double seconds = 0;                       ///< per case; 0: no limit
  bool shrink = true;                       ///< failing cases
  std::function<void(const Case&)> made{};  ///< called with every case before it is checked
};

struct PlannedCase {
  const LayerRow* row;
  Options options;
  Draw draw;
  bool large = false;  ///< checked by projections
};

/// What was found in one case.
struct CaseResult {
  std::string layer;
  std::string options;  ///< JSON
  Draw draw;            ///< shrunk when it fails
  GradcheckReport report;
  std::string error;  ///< what was thrown; empty: nothing
  std::string code;   ///< of a failing case: C++ that shows the failure
  double seconds = 0;

  bool ok() const { return error.empty() && report.ok; }
};
/// The worst of its entries: "OK", "NOISE", "KINK", "WRONG", or "ERROR".
const char* verdict_of(const CaseResult& result);

/// Without a mask with the defaults, then every part of a mask alone, then `random` cases of everything at random, then
/// `large` ones that reach beyond the blocks of the kernels. fixed: options instead of defaults and random ones.
std::vector<PlannedCase> plan_cases(const LayerRow& row, const Options* fixed, int random, int large, uint64_t seed);

CaseResult run_case(const PlannedCase& planned, const RunSettings& settings);

/// The results in the order of the cases. seconds > 0: time for all of them together, 0: as long as it takes. Within a
/// limit every layer has its first case, then every one its second, until the time is spent; elements of a case are
/// drawn at random for its share. progress(result, how many): after each case.
std::vector<CaseResult> run_cases(const std::vector<PlannedCase>& cases, RunSettings settings, double seconds,
                                  const std::function<void(const CaseResult&, int64_t)>& progress);

/// What is checked, its values filled in from the draw's seed.
struct BuiltCase {
  Case made;
  std::vector<Variable> inputs;
  NamedLeaves leaves;  ///< parameters, then inputs

  GradcheckSubject subject(uint64_t seed) const;
};
/// In float64.
BuiltCase build_case(const PlannedCase& planned);
GradcheckOptions check_options(const PlannedCase& planned, const BuiltCase& built, const RunSettings& settings);

/// A program that checks the case in float64 and shows the report.
std::string code_of(const PlannedCase& planned);

}  // namespace attune::examples

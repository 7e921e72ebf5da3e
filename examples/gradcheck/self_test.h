#pragma once

#include <functional>
#include <string>
#include <vector>

#include "examples/gradcheck/faults.h"
#include "examples/gradcheck/run.h"

namespace attune::examples {

struct FaultResult {
  const Fault* fault = nullptr;
  int attempts = 0;  ///< random cases until it was noticed, or all that were tried
  bool reached = false;
  bool caught = false;
  std::string gradient;  ///< where it was noticed: name and verdict
};

/// Puts the fault into random cases, one after the other, until it is noticed or a few have passed.
FaultResult try_fault(const Fault& fault, uint64_t seed);

struct SelfTestResult {
  std::vector<FaultResult> faults;
  int64_t correct_cases = 0;
  std::vector<CaseResult> false_alarms;

  int64_t caught() const;
  /// At least 95 % of the faults are caught, and there is no false alarm.
  bool ok() const;
};

/// Every fault in up to a few random cases, then `correct` random cases of the whole catalogue. progress(done, total).
SelfTestResult self_test(uint64_t seed, int64_t correct, const std::function<void(int64_t, int64_t)>& progress);

std::string text_report(const SelfTestResult& result, bool colours);
std::string json_report(const SelfTestResult& result);

/// Throws UsageError that names the nearest fault.
const Fault& find_fault(std::string_view name);

}  // namespace attune::examples

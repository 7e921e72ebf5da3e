#pragma once

#include <string>
#include <vector>

#include "examples/gradcheck/run.h"

namespace attune::examples {

/// All cases of one layer together.
struct LayerSummary {
  const LayerRow* row = nullptr;
  std::vector<const CaseResult*> cases;
  std::string verdict;  ///< the worst
  int64_t tensors = 0;
  int64_t elements = 0;
  int64_t zeros = 0;
  double relative_difference = 0;  ///< largest of ||analytic - numeric|| / ||numeric||
  double seconds = 0;
};
std::vector<LayerSummary> summarise(const std::vector<CaseResult>& results);

/// What was run, for the head of every report.
struct RunDescription {
  std::string dtype;
  std::string device;
  uint64_t seed = 1;
  double seconds = 0;  ///< that it took
  std::string processor;
};

/// For the terminal. colours: escape sequences around verdicts. details: also every input and parameter of every layer.
std::string text_report(const std::vector<CaseResult>& results, bool details, bool colours);
std::string json_report(const std::vector<CaseResult>& results, const RunDescription& run);
/// JUnit's XML: a suite per layer, a test case per case.
std::string junit_report(const std::vector<CaseResult>& results, const RunDescription& run);
/// One page that needs nothing else.
std::string html_report(const std::vector<CaseResult>& results, const RunDescription& run);

}  // namespace attune::examples

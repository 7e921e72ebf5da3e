#include "autograd/gradcheck.h"
#include "framework/fail.h"

namespace attune {

const char* verdict_name(GradientVerdict verdict) {
  switch (verdict) {
    case GradientVerdict::kOk:
      return "OK";
    case GradientVerdict::kWrong:
      return "WRONG";
    case GradientVerdict::kNoise:
      return "NOISE";
    case GradientVerdict::kKink:
      return "KINK";
  }
  return "";
}

std::string GradcheckReport::to_string() const {
  std::string text;
  for (const GradcheckEntry& e : entries) {
    text += fmt::format("{:5} {} {}: {} of {} elements differ, absolute {:.2e}, relative {:.2e}, norm {:.2e}",
                        verdict_name(e.verdict), e.name, e.shape, e.failed, e.checked, e.max_absolute, e.max_relative,
                        e.relative_difference);
    if (e.noisy > 0) text += fmt::format(", {} cannot be told", e.noisy);
    if (e.kinks > 0) text += fmt::format(", {} at a kink", e.kinks);
    if (!e.worst.empty()) {
      text += fmt::format("; worst at {}: analytic {:.10g}, numeric {:.10g} +- {:.1e}", e.worst, e.analytic, e.numeric,
                          e.numeric_error);
    }
    if (!e.note.empty()) text += fmt::format(" ({})", e.note);
    text += '\n';
  }
  return text;
}

}  // namespace attune

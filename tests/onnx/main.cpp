// attune-onnx FOLDER [--all]: does Attune compute what the ONNX backend node tests expect? FOLDER: what export.py
// wrote. A line for every case that disagrees or is not expressible (--all: for every case), then a table by operator.
// Exit status 1 where a case disagrees.

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <exception>
#include <map>
#include <optional>
#include <string>

#include "tests/onnx/case.h"

namespace attune::onnx {
namespace {

enum class Verdict : uint8_t { kAgrees, kDisagrees, kNotExpressible };

struct Outcome {
  Verdict verdict = Verdict::kAgrees;
  std::string why;
};

struct Tolerance {
  double absolute;
  double relative;
};

Tolerance tolerance_of(const Case& c, DType dtype) {
  if (c.float16) return {2e-3, 2e-3};
  if (dtype == DType::kBFloat16) return {1.0 / 128, 1.0 / 128};
  // Its results are literals of four digits.
  if (c.name == "test_averagepool_2d_ceil_last_window_starts_on_pad") return {1e-4, 0};
  return {1e-5, 1e-5};
}

/// What is wrong with `y`; nothing where it agrees.
std::optional<std::string> difference(const Case& c, const Tensor& y, const Tensor& expected) {
  if (y.dtype() != expected.dtype() || y.shape() != expected.shape()) {
    return fmt::format("{} {}, expected {} {}", dtype_name(y.dtype()), y.shape().to_string(),
                       dtype_name(expected.dtype()), expected.shape().to_string());
  }
  if (!is_floating(y.dtype())) {
    const int64_t differ = static_cast<int64_t>(sum(y != expected).item());
    if (differ == 0) return {};
    return fmt::format("{} of {} differ", differ, y.numel());
  }
  const auto a = y.to(DType::kFloat64).to_vector<double>();
  const auto b = expected.to(DType::kFloat64).to_vector<double>();
  const Tolerance allowed = tolerance_of(c, expected.dtype());
  size_t differ = 0, first = 0;
  for (size_t i = a.size(); i-- > 0;) {
    // Every number is within an infinite tolerance, another infinity too.
    const bool exact = !std::isfinite(a[i]) || !std::isfinite(b[i]);
    const bool same = exact ? a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))
                            : std::abs(a[i] - b[i]) <= allowed.absolute + allowed.relative * std::abs(b[i]);
    if (same) continue;
    ++differ;
    first = i;
  }
  if (differ == 0) return {};
  return fmt::format("{} of {} differ, first [{}] Attune {:.8g} ONNX {:.8g}", differ, a.size(), first, a[first],
                     b[first]);
}

Outcome compare(const Case& c, const Ways& ways) {
  for (size_t way = 0; way < ways.size(); ++way) {
    for (size_t i = 0; i < c.outputs.size(); ++i) {
      if (!c.wants(i)) continue;
      // Later ways may leave outputs out that only the first gives.
      const bool given = i < ways[way].size() && ways[way][i].defined();
      if (!given && way > 0) continue;
      const auto wrong = given ? difference(c, ways[way][i], c.outputs[i]) : "is missing";
      if (wrong) return {Verdict::kDisagrees, fmt::format("output {}, way {}: {}", i, way, *wrong)};
    }
  }
  return {};
}

Outcome run(const Case& c, const Operators& operators) {
  const auto function = operators.find(c.op);
  if (function == operators.end()) return {Verdict::kNotExpressible, "no counterpart"};
  try {
    return compare(c, function->second(c));
  } catch (const NotExpressible& e) {
    return {Verdict::kNotExpressible, e.reason};
  } catch (const std::exception& e) {
    return {Verdict::kDisagrees, e.what()};
  }
}

const char* word(Verdict verdict) {
  return verdict == Verdict::kAgrees ? "agrees" : verdict == Verdict::kDisagrees ? "DISAGREES" : "not expressible";
}

struct Counts {
  int by_verdict[3] = {};
  int float16 = 0;

  void print(const std::string& name) const {
    fmt::print("| {} | {} | {} | {} | {} | {} |\n", name, by_verdict[0] + by_verdict[1] + by_verdict[2] + float16,
               by_verdict[0], by_verdict[1], by_verdict[2], float16);
  }
};

int run_all(const std::string& folder, bool all) {
  Operators operators;
  for (const auto add : {add_elementwise, add_reductions, add_arrangements, add_indexing, add_layers, add_pooling,
                         add_attention, add_recurrent, add_training}) {
    add(operators);
  }
  Counts total, beyond;
  std::map<std::string, Counts> by_operator;
  std::map<std::string, int> reasons, float16;
  for (const Case& c : read_cases(folder)) {
    const Outcome outcome = run(c, operators);
    if (all || (outcome.verdict != Verdict::kAgrees && !c.float16)) {
      fmt::print("{} {}: {}{} {}\n", c.op, c.name, c.float16 ? "float16, in float32 " : "", word(outcome.verdict),
                 outcome.why);
    }
    const auto verdict = static_cast<size_t>(outcome.verdict);
    if (!c.name.starts_with("test_")) {
      ++beyond.by_verdict[verdict];
      continue;
    }
    for (Counts* counts : {&total, &by_operator[c.op]}) {
      ++(c.float16 ? counts->float16 : counts->by_verdict[verdict]);
    }
    if (c.float16) {
      ++float16[word(outcome.verdict)];
    } else if (outcome.verdict == Verdict::kNotExpressible) {
      ++reasons[c.op + ": " + outcome.why];
    }
  }
  fmt::print("\n| operator | cases | agrees | disagrees | not expressible | float16, skipped |\n");
  fmt::print("| --- | --- | --- | --- | --- | --- |\n");
  total.print("**all**");
  for (const auto& [name, counts] : by_operator) counts.print(name);
  beyond.print("beyond the suite");
  fmt::print("\nNot expressible:\n");
  for (const auto& [reason, count] : reasons) fmt::print("{:4} {}\n", count, reason);
  fmt::print("\nfloat16, the same numbers in float32 within 2e-3:\n");
  for (const auto& [verdict, count] : float16) fmt::print("{:4} {}\n", count, verdict);
  return total.by_verdict[1] + beyond.by_verdict[1] == 0 ? 0 : 1;
}

}  // namespace
}  // namespace attune::onnx

int main(int argc, char** argv) {
  const bool all = argc == 3 && std::string(argv[2]) == "--all";
  if (argc != 2 && !all) {
    fmt::print(stderr, "attune-onnx: usage: attune-onnx FOLDER [--all]; tests/onnx/export.py writes FOLDER\n");
    return 2;
  }
  try {
    return attune::onnx::run_all(argv[1], all);
  } catch (const std::exception& e) {
    fmt::print(stderr, "attune-onnx: {}\n", e.what());
    return 2;
  }
}

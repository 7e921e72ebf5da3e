#include "tests/benchmarks/contest.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <optional>
#include <utility>

#include "framework/device.h"

namespace attune::bench {
namespace {

/// Milliseconds of `steps` steps; empty when the peer cannot run.
std::vector<double> ask(Peer& peer, int steps, std::string* version = nullptr) {
  const std::optional<std::string> answer = peer.ask(std::to_string(steps));
  if (!answer) return {};
  const nlohmann::json json = nlohmann::json::parse(*answer, nullptr, false);
  if (json.is_discarded()) return {};
  if (version != nullptr) *version = json["torch"];
  return json["ms"].get<std::vector<double>>();
}

}  // namespace

double ChosenPeer::turn(const Turns& turns) const { return peer ? median(ask(*peer, turns.steps)) : 0; }

ChosenPeer choose_peer(const Comparison& comparison, const std::string& script,
                       const std::vector<std::string>& arguments, const std::vector<Configuration>& configurations,
                       const Turns& turns) {
  ChosenPeer best;
  if (!comparison.with_peer) return best;
  double best_time = 1e30;
  for (const Configuration& configuration : configurations) {
    std::vector<std::string> command = {comparison.python, comparison.peers + "/" + script, "--threads",
                                        std::to_string(num_threads())};
    command.insert(command.end(), arguments.begin(), arguments.end());
    command.insert(command.end(), configuration.arguments.begin(), configuration.arguments.end());
    auto peer = std::make_unique<Peer>(command, tuned_environment());
    std::string version;
    if (ask(*peer, turns.warm_up, &version).empty()) continue;
    const double time = median(ask(*peer, turns.steps));
    if (time == 0) continue;
    fmt::print("    torch {}, {}: {:.2f} ms\n", version, configuration.name, time);
    std::fflush(stdout);
    if (time < best_time) {
      best_time = time;
      best = {std::move(peer), "torch " + version + ", " + configuration.name};
    }
  }
  return best;
}

void print_rates(const std::string& name, double milliseconds, const Work& work, double peak) {
  const double rate = work.operations / milliseconds / 1e6;
  fmt::print("  {:<44} {:7.2f} ms  {:8.0f} {}/s  {:5.0f} GFLOP/s  {:5.1f}% of peak\n", name, milliseconds,
             static_cast<double>(work.count) / milliseconds * 1e3, work.unit, rate, 100 * rate / peak);
}

void print_rate(const std::string& name, double milliseconds, const Work& work) {
  fmt::print("  {:<44} {:7.2f} ms  {:8.0f} {}/s\n", name, milliseconds,
             static_cast<double>(work.count) / milliseconds * 1e3, work.unit);
}

void print_ratio(double ratio) { fmt::print("  {:<44} {:7.2f}\n", "times faster than PyTorch", ratio); }

}  // namespace attune::bench

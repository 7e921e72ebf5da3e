#include "examples/support/interrupts.h"

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include <csignal>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "examples/support/partial_evaluation.h"
#include "tests/support/paths.h"

namespace attune::examples {
namespace {

/// Takes back what catch_interrupts() changes.
class Signals {
 public:
  Signals() {
    for (const int signal : kSignals) sigaction(signal, nullptr, &before_.emplace_back());
  }
  ~Signals() {
    catch_interrupts();  // forgets what was seen
    for (size_t i = 0; i < before_.size(); ++i) sigaction(kSignals[i], &before_[i], nullptr);
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
  std::vector<struct sigaction> before_;
};

TEST_CASE("the first interrupt is only noted, and exit statuses are those of shells", "[support]") {
  const Signals signals;
  for (const auto& [signal, status] : {std::pair(SIGINT, 130), std::pair(SIGTERM, 143), std::pair(SIGHUP, 129)}) {
    INFO(signal);
    catch_interrupts();
    CHECK_FALSE(interrupted());
    std::raise(signal);
    CHECK(interrupted());
    CHECK(interrupt_status() == status);
    struct sigaction now {};
    sigaction(signal, nullptr, &now);
    CHECK(now.sa_handler == SIG_DFL);
  }
}

TEST_CASE("a hangup that is ignored, as under nohup, stays so", "[support]") {
  const Signals signals;
  std::signal(SIGHUP, SIG_IGN);
  catch_interrupts();
  std::raise(SIGHUP);
  CHECK_FALSE(interrupted());
}

TEST_CASE("only work that may be interrupted is", "[support]") {
  const Signals signals;
  catch_interrupts();
  std::raise(SIGTERM);
  CHECK_NOTHROW(end_if_interrupted());
  {
    const InterruptibleWork work;
    CHECK_THROWS_AS(end_if_interrupted(), Interrupted);
  }
  CHECK_NOTHROW(end_if_interrupted());
}

TEST_CASE("parts of an evaluation are found once, whoever asks again", "[support]") {
  const testing::TemporaryDirectory directory;
  const std::string file = directory / "evaluation.json";
  int computed = 0;
  const auto ask = [&](PartialEvaluation& parts, const char* name) {
    return parts.part(name, [&] { return PartialEvaluation::Json{++computed, 0.1 + 0.2, "text"}; });
  };
  PartialEvaluation none;
  CHECK(ask(none, "a") != ask(none, "a"));  // nothing is kept where nothing was begun
  computed = 0;

  PartialEvaluation first;
  first.begin(file, "run", 7, 0);
  const PartialEvaluation::Json a = ask(first, "a");
  first.set_prefix("average/");
  ask(first, "a");
  CHECK(computed == 2);
  // Killed here.
  PartialEvaluation second;
  second.begin(file, "run", 7, 1e9);
  CHECK(ask(second, "a") == a);
  CHECK(computed == 2);
  ask(second, "b");
  PartialEvaluation unsaved;
  unsaved.begin(file, "run", 7, 0);
  ask(unsaved, "b");  // it is not time to save yet
  CHECK(computed == 4);
  second.save();
  PartialEvaluation saved;
  saved.begin(file, "run", 7, 0);
  ask(saved, "b");
  CHECK(computed == 4);

  // Another step, another run, and files of whatever kind count for nothing.
  PartialEvaluation other;
  other.begin(file, "run", 8, 1e9);
  CHECK(ask(other, "a") != a);
  other.begin(file, "another run", 7, 1e9);
  CHECK(ask(other, "a") != a);
  for (const char* text :
       {"", "{", "[]", "{\"header\":1}", "{\"header\":{\"run\":\"run\",\"step\":7},\"parts\":[1]}"}) {
    directory.write("evaluation.json", text);
    other.begin(file, "run", 7, 1e9);
    CHECK(ask(other, "a") != a);
  }
  saved.end();
  CHECK_FALSE(std::filesystem::exists(file));
}

}  // namespace
}  // namespace attune::examples

#pragma once

#include <memory>
#include <stdexcept>

#include "layers/seq2seq/generation.h"

namespace attune::examples {

/// Long work was ended in the middle because the program is to end.
class Interrupted : public std::runtime_error {
 public:
  Interrupted() : std::runtime_error("interrupted") {}
};

/// From now on the first SIGINT (Ctrl-C), SIGTERM or SIGHUP only sets interrupted(); the second ends the process as
/// usual. SIGHUP stays ignored where it is, as under nohup. A reader of standard output or error that is gone no longer
/// ends the process (SIGPIPE): writing fails instead.
void catch_interrupts();
bool interrupted();
/// Exit status after an interrupt: 128 + the number of the signal, as shells have it.
int interrupt_status();

/// While one lives, end_if_interrupted() may end what is being done.
class InterruptibleWork {
 public:
  InterruptibleWork();
  ~InterruptibleWork();
  InterruptibleWork(const InterruptibleWork&) = delete;
  InterruptibleWork& operator=(const InterruptibleWork&) = delete;
};

/// Throws Interrupted where that is wanted; for loops of evaluations, once a batch or more often.
void end_if_interrupted();

/// The same generation, which calls end_if_interrupted() before every token: a batch of long texts takes longer than
/// people wait.
std::unique_ptr<Generation> interruptible(std::unique_ptr<Generation> generation);

}  // namespace attune::examples

#pragma once

#include <vector>

#include "tests/torture/campaign.h"
#include "tests/torture/trained_program.h"

namespace attune::torture {

/// A run gets signals at random moments and is resumed each time, until it ends: every file that it leaves is whole
/// and, at the end, byte for byte that of an undisturbed run.
void kill_run(Trial& trial, TrainedProgram& program);

/// A system call fails or the program is killed inside it, or a standard stream cannot be written: one line says so,
/// no file is damaged, and the run goes on to the same end. Programs that read give the right answer or none.
void inject_fault(Trial& trial, TrainedProgram& program);

// A program is given a file that is damaged or made to harm: it takes it or refuses it in one line, within its limits.

/// Checkpoints for attune-checkpoint, which needs none of the programs that train.
void give_hostile_file_to_checkpoint_program(Trial& trial);
/// Everything that the program reads.
void give_hostile_file(Trial& trial, TrainedProgram& program);

}  // namespace attune::torture

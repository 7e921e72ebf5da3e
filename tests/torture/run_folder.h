#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "framework/checkpoint.h"
#include "tests/torture/campaign.h"

namespace attune::torture {

/// Checkpoint::load() for one thread at a time, as HDF5 needs it. Throws Failure when the file is damaged.
Checkpoint load_checkpoint(const std::filesystem::path& path);
void save_checkpoint(const Checkpoint& checkpoint, const std::filesystem::path& path);

/// The step at which last.h5 was saved; none when it is not there.
std::optional<int64_t> saved_step(const std::filesystem::path& run);

/// Checks what a run that was killed at any moment must have left: checkpoints that are whole, a log of JSON lines, the
/// configuration of the undisturbed run. Throws Failure.
void check_whole(const std::filesystem::path& run, const std::filesystem::path& undisturbed);

/// Checks that two runs left the same files with the same bytes, and nothing_else. Throws Failure.
void check_equal(const std::filesystem::path& run, const std::filesystem::path& undisturbed, bool nothing_else = true);

/// Checks that the program ended itself, with `status` 1 or 2 and one line "error: ..." where it failed; when training
/// had begun, lines before it are fine. Neither limits nor reports of sanitizers are. Throws Failure.
void check_answer(const Ended& ended);

/// "exit 1", "killed by signal 9", "trains", "beyond 12 s of processor time".
std::string outcome_of(const Ended& ended);

}  // namespace attune::torture

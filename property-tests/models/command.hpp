// The command of a model: [--mutant NAME] [--mutants] [--states N] [--solo] [--trace] name=value …
#pragma once
#include <functional>
#include <map>
#include "explorer.hpp"

namespace models {

// A state that is compared as it lies in memory: without padding, or with padding that is always zero.
template <class S>
struct PlainStates {
  using State = S;
  std::string violation;
  size_t packedBytes() const { return sizeof(S); }
  void pack(const S& state, Byte* bytes) const { memcpy(bytes, &state, sizeof(S)); }
  void unpack(const Byte* bytes, S& state) const { memcpy(&state, bytes, sizeof(S)); }
  template <class OnRun> void solo(const S&, OnRun) {}
  void fail(const char* what) { if (violation.empty()) violation = what; }
};

struct Command {
  // Index of a name; 0: nothing is broken.
  int mutant = 0;
  size_t statesMax = 20'000'000;
  bool runsSolo = false, printsTrace = false;
};

// Whether name=value is one of the model's.
using Assign = std::function<bool(const std::string& name, const std::string& value)>;

inline Assign toNumbers(std::map<std::string, int*> numbers) {
  return [numbers](const std::string& name, const std::string& value) {
    const auto found = numbers.find(name);
    if (found == numbers.end()) return false;
    *found->second = atoi(value.c_str());
    return true;
  };
}

// Returns the exit code of a command that has ended with this, and -1 if its model is to be explored.
inline int readCommand(int count, char** words, const char* const* mutantNames, int mutants, const Assign& assign, Command& command) {
  for (int at = 1; at < count; at++) {
    const std::string word = words[at];
    const size_t equals = word.find('=');
    if (word == "--solo") command.runsSolo = true;
    else if (word == "--trace") command.printsTrace = true;
    else if (word == "--states" && at + 1 < count) command.statesMax = size_t(atoll(words[++at]));
    else if (word == "--mutant" && at + 1 < count) {
      const std::string name = words[++at];
      for (int k = 1; k < mutants; k++) if (name == mutantNames[k]) command.mutant = k;
      if (command.mutant == 0) return fprintf(stderr, "There is no mutant \"%s\".\n", name.c_str()), 2;
    } else if (word == "--mutants") {
      for (int k = 1; k < mutants; k++) puts(mutantNames[k]);
      return 0;
    } else if (equals == std::string::npos || !assign(word.substr(0, equals), word.substr(equals + 1))) {
      return fprintf(stderr, "What is \"%s\"?\n", word.c_str()), 2;
    }
  }
  return -1;
}

template <class Model>
int exploreModel(Model& model, const Command& command) {
  Explorer<Model> explorer(model, command.statesMax);
  const Result result = explorer.explore(command.runsSolo);
  if (command.printsTrace && !result.violation.empty()) fputs(explorer.trace.c_str(), stdout);
  printf("{\"states\":%llu,\"transitions\":%llu,\"rests\":%llu,\"soloRuns\":%llu,\"longestSolo\":%d,\"isComplete\":%s,\"violation\":\"%s\"}\n",
         (unsigned long long)result.states, (unsigned long long)result.transitions, (unsigned long long)result.rests,
         (unsigned long long)result.soloRuns, result.longestSolo, result.isComplete ? "true" : "false", result.violation.c_str());
  return 0;
}

// Model has a constructor (numbers, mutant), and mutantNames: the first one is that nothing is broken.
template <class Model>
int runCommand(int count, char** words, std::map<std::string, int> numbers) {
  const int mutants = int(sizeof(Model::mutantNames) / sizeof(Model::mutantNames[0]));
  std::map<std::string, int*> places;
  for (auto& [name, number] : numbers) places[name] = &number;
  Command command;
  const int code = readCommand(count, words, Model::mutantNames, mutants, toNumbers(places), command);
  if (code >= 0) return code;
  Model model(numbers, command.mutant);
  return exploreModel(model, command);
}

}  // namespace models

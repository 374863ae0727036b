// The command of a model: [--mutant NAME] [--mutants] [--states N] [--solo] [--trace] name=value …
#pragma once
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

// Model has a constructor (numbers, mutant), and mutantNames: the first one is that nothing is broken.
template <class Model>
int runCommand(int count, char** words, std::map<std::string, int> numbers) {
  int mutant = 0;
  size_t statesMax = 20'000'000;
  bool runsSolo = false, printsTrace = false;
  const int mutants = int(sizeof(Model::mutantNames) / sizeof(Model::mutantNames[0]));
  for (int at = 1; at < count; at++) {
    const std::string word = words[at];
    const size_t equals = word.find('=');
    if (word == "--solo") runsSolo = true;
    else if (word == "--trace") printsTrace = true;
    else if (word == "--states" && at + 1 < count) statesMax = size_t(atoll(words[++at]));
    else if (word == "--mutant" && at + 1 < count) {
      const std::string name = words[++at];
      for (int k = 1; k < mutants; k++) if (name == Model::mutantNames[k]) mutant = k;
      if (mutant == 0) return fprintf(stderr, "There is no mutant \"%s\".\n", name.c_str()), 2;
    } else if (word == "--mutants") {
      for (int k = 1; k < mutants; k++) puts(Model::mutantNames[k]);
      return 0;
    } else if (equals != std::string::npos && numbers.count(word.substr(0, equals))) {
      numbers[word.substr(0, equals)] = atoi(word.c_str() + equals + 1);
    } else return fprintf(stderr, "What is \"%s\"?\n", word.c_str()), 2;
  }
  Model model(numbers, mutant);
  Explorer<Model> explorer(model, statesMax);
  const Result result = explorer.explore(runsSolo);
  if (printsTrace && !result.violation.empty()) fputs(explorer.trace.c_str(), stdout);
  printf("{\"states\":%llu,\"transitions\":%llu,\"rests\":%llu,\"soloRuns\":%llu,\"longestSolo\":%d,\"isComplete\":%s,\"violation\":\"%s\"}\n",
         (unsigned long long)result.states, (unsigned long long)result.transitions, (unsigned long long)result.rests,
         (unsigned long long)result.soloRuns, result.longestSolo, result.isComplete ? "true" : "false", result.violation.c_str());
  return 0;
}

}  // namespace models

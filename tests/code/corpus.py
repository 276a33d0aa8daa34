"""Answers in the shapes in which chat models give them, each with the program that is to be found in it.

The tasks are our own, in the form of HumanEval (a prompt that is code) and of MBPP (a sentence and assertions), so
that nothing but this file is needed. Every answer is set in the upstream task whose answers look like that; how
upstream reads it is checked by ``test_code_corpus.py``, which runs the very functions of the installed lm-eval.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A problem: for HumanEval the prompt is the code to be completed, for MBPP a sentence."""

    prompt: str
    entry_point: str
    tests: str


# Programs that are the answer to the letter, alone or after the task's prompt.
ANSWER = "{answer}"
CONTINUED = "{prompt}{answer}"


@dataclass
class Case:
    """An answer to a task.

    Attributes:
        shape: What is particular about the answer, one of ``SHAPES``.
        setting: Upstream's task in which it is given: it decides what the prompt has opened already, which strings end
            the answer, and how upstream finds the program.
        upstream: "same" where the program that upstream finds passes the tests; else why it does not.
        answer: What the model wrote, to the end.
        program: What our extractor must make of it, to the letter; ``ANSWER`` and ``CONTINUED`` are filled in.
        passes: Whether ``program`` passes the tests.
    """

    id: str
    shape: str
    task: Task
    setting: str
    upstream: str
    answer: str
    program: str
    passes: bool = True

    def __post_init__(self) -> None:
        if self.program in (ANSWER, CONTINUED):
            self.program = self.program.format(prompt=self.task.prompt, answer=self.answer)


SHAPES = (
    "continuation",
    "bare",
    "fenced",
    "several blocks",
    "repeated signature",
    "prose around",
    "wrong language tag",
    "truncated",
    "tabs and CRLF",
    "class wrapper",
    "doctests",
    "markdown in strings",
    "no program",
    "wrong answer",
)


# --- Tasks in the form of HumanEval ---

GAPS = Task(
    '''from typing import List


def neighbour_gaps(numbers: List[int]) -> List[int]:
    """ Return the absolute differences of neighbouring numbers.
    >>> neighbour_gaps([1, 4, 2])
    [3, 2]
    >>> neighbour_gaps([7])
    []
    """
''',
    "neighbour_gaps",
    "assert neighbour_gaps([1, 4, 2]) == [3, 2]\nassert neighbour_gaps([7]) == []\nassert neighbour_gaps([]) == []\n",
)
VOWELS = Task(
    '''

def longest_vowel_run(text: str) -> int:
    """ Given a text, return the length of its longest run of consecutive vowels (a, e, i, o, u, in either case).
    >>> longest_vowel_run('queue')
    4
    >>> longest_vowel_run('rhythm')
    0
    """
''',
    "longest_vowel_run",
    "assert longest_vowel_run('queue') == 4\nassert longest_vowel_run('rhythm') == 0\n"
    "assert longest_vowel_run('AErIal') == 2\n",
)
ROTATE = Task(
    '''

def rotate_left(word: str) -> str:
    """
    moves the first letter of the word to its end.
    """
    return word[1:] + word[:1]


def rotate_right(word: str) -> str:
    """
    takes as input a word that was changed by rotate_left. Returns the word as it was before.
    """
''',
    "rotate_right",
    "from random import Random\n\nletters = Random(0)\nfor size in range(9):\n"
    "    word = ''.join(letters.choices('abcde', k=size))\n    assert rotate_right(rotate_left(word)) == word\n",
)
ROUND = Task(
    '''import math


def round_up(value: float, step: float) -> float:
    """ Round the value up to the next multiple of step.
    >>> round_up(7, 5)
    10
    """
''',
    "round_up",
    "assert round_up(7, 5) == 10\nassert round_up(10, 5) == 10\nassert round_up(0.3, 0.5) == 0.5\n",
)
CLOSEST = Task(
    '''from typing import List, Optional, Tuple


def closest_pair(numbers: List[float]) -> Optional[Tuple[float, float]]:
    """ From a list of numbers, return the two that are closest to each other, the smaller one first.
    Return None if there are fewer than two.
    >>> closest_pair([5.0, 1.0, 4.5])
    (4.5, 5.0)
    """
''',
    "closest_pair",
    "assert closest_pair([5.0, 1.0, 4.5]) == (4.5, 5.0)\nassert closest_pair([1.0]) is None\n"
    "assert closest_pair([9.0, 2.0, 4.0]) == (2.0, 4.0)\n",
)
DEPTH = Task(
    """
def nestingDepth(brackets):
    '''
    Create a function which takes a string of '(' and ')', and returns how deep they are nested.
    If they do not match, return -1.

    Examples:
    nestingDepth("(()())") ➞ 2
    nestingDepth("())") ➞ -1
    '''
""",
    "nestingDepth",
    "assert nestingDepth('(()())') == 2\nassert nestingDepth('())') == -1\nassert nestingDepth('((') == -1\n"
    "assert nestingDepth('') == 0\n",
)
FENCE = Task(
    '''

def to_fence(code: str, language: str) -> str:
    """ Return the code as a fenced block of Markdown.
    """
''',
    "to_fence",
    "assert to_fence('x = 1', 'python') == '```python\\nx = 1\\n```'\nassert to_fence('', '') == '```\\n\\n```'\n",
)
REPORT = Task(
    '''from typing import Dict


def to_report(title: str, counts: Dict[str, int]) -> str:
    """ Return a report in Markdown: the title as a heading, a blank line, and an item for each count.
    """
''',
    "to_report",
    "assert to_report('Fruit', {'pear': 2, 'fig': 1}) == '# Fruit\\n\\n- pear: 2\\n- fig: 1\\n'\n",
)

# --- Tasks in the form of MBPP ---

SECOND = Task(
    "Write a function to find the second largest distinct number of a list.",
    "second_largest",
    "assert second_largest([1, 5, 3]) == 3\nassert second_largest([5, 5, 2]) == 2\n"
    "assert second_largest([4]) == None\n",
)
DIGITS = Task(
    "Write a python function to find the sum of the digits of a number.",
    "sum_Digits",
    "assert sum_Digits(345) == 12\nassert sum_Digits(0) == 0\nassert sum_Digits(97) == 16\n",
)
TURN = Task(
    "Write a function to rotate a given list to the right by the specified number of items.",
    "rotate_list",
    "assert rotate_list([1, 2, 3, 4], 1) == [4, 1, 2, 3]\nassert rotate_list([1, 2], 3) == [2, 1]\n"
    "assert rotate_list([], 2) == []\n",
)
DIVISORS = Task(
    "Write a function to find the common divisors of two given numbers.",
    "common_divisors",
    "assert common_divisors(12, 18) == [1, 2, 3, 6]\nassert common_divisors(7, 5) == [1]\n"
    "assert common_divisors(4, 4) == [1, 2, 4]\n",
)
BOXES = Task(
    "Write a function to find the largest volume of the given boxes.",
    "max_volume",
    "assert max_volume([Box(1, 2, 3), Box(2, 2, 2)], 2) == 8\nassert max_volume([Box(1, 1, 1)], 1) == 1\n"
    "assert max_volume([Box(5, 1, 2), Box(3, 3, 1)], 2) == 10\n",
)
EMAIL = Task(
    "Write a function to check if the given string is a simple email address or not by using regex.",
    "check_address",
    "assert check_address('ann@site.org') == 'Valid'\nassert check_address('ann.site.org') == 'Invalid'\n"
    "assert check_address('a@b') == 'Invalid'\n",
)
LENGTHS = Task(
    "Write a function to count the words of a sentence by their length.",
    "count_lengths",
    "assert count_lengths('the cat ate') == {3: 3}\nassert count_lengths('a bc de') == {1: 1, 2: 2}\n"
    "assert count_lengths('') == {}\n",
)
BLOCK = Task(
    "Write a function to put a given text into a Markdown code block.",
    "code_block",
    "assert code_block('ls') == '```\\nls\\n```'\nassert code_block('a\\nb') == '```\\na\\nb\\n```'\n"
    "assert code_block('') == '```\\n\\n```'\n",
)
TODO = Task(
    "Write a function to mark an item of a to-do list as done.",
    "mark_done",
    "assert mark_done('[TODO] wash') == '[DONE] wash'\nassert mark_done('[DONE] wash') == '[DONE] wash'\n"
    "assert mark_done('wash') == 'wash'\n",
)
FIBONACCI = Task(
    "Write a function to find the n-th Fibonacci number.",
    "fibonacci",
    "assert fibonacci(1) == 1\nassert fibonacci(2) == 1\nassert fibonacci(20) == 6765\n",
)

# The texts are what matters: they are not to be wrapped.
# fmt: off
CASES = [
    # --- Continuation ---
    Case(
        "continuation-next-function", "continuation", GAPS, "humaneval",
        upstream="same",
        answer='''    gaps = []
    for i in range(len(numbers) - 1):
        gaps.append(abs(numbers[i + 1] - numbers[i]))
    return gaps


def neighbour_sums(numbers: List[int]) -> List[int]:
    """ Return the sums of neighbouring numbers.
    >>> neighbour_sums([1, 4, 2])
    [5, 6]
    """
    return [a + b for a, b in zip(numbers, numbers[1:])]
''',
        program=CONTINUED,
    ),
    Case(
        "continuation-print-after", "continuation", VOWELS, "humaneval",
        upstream="same",
        answer='''    best = run = 0
    for letter in text.lower():
        run = run + 1 if letter in 'aeiou' else 0
        best = max(best, run)
    return best

print(longest_vowel_run('queue'))
print(longest_vowel_run('rhythm'))
''',
        program=CONTINUED,
    ),
    Case(
        "continuation-prose-after", "continuation", ROTATE, "humaneval",
        upstream="A sentence after the code stays in the program, which is then no Python.",
        answer='''    return word[-1:] + word[:-1]

This function takes the last letter of the word and puts it back to the front, so it's the inverse of rotate_left.
''',
        program=ROTATE.prompt + '''    return word[-1:] + word[:-1]

''',
    ),
    Case(
        "continuation-first-indentation-lost", "continuation", CLOSEST, "humaneval",
        upstream="The answer begins without its indentation, so that the function's body ends before it begins.",
        answer='''if len(numbers) < 2:
        return None
    numbers = sorted(numbers)
    pairs = list(zip(numbers, numbers[1:]))
    return min(pairs, key=lambda pair: pair[1] - pair[0])
''',
        program=CLOSEST.prompt + '''    if len(numbers) < 2:
        return None
    numbers = sorted(numbers)
    pairs = list(zip(numbers, numbers[1:]))
    return min(pairs, key=lambda pair: pair[1] - pair[0])
''',
    ),
    Case(
        "continuation-closing-fence", "continuation", ROUND, "humaneval_instruct",
        upstream="same",
        answer='''    return math.ceil(value / step) * step
```

The function divides the value by the step, rounds the quotient up with `math.ceil`, and multiplies it by the step
again.
''',
        program=ROUND.prompt + "    return math.ceil(value / step) * step",
    ),
    Case(
        "continuation-dedented", "continuation", GAPS, "humaneval_instruct",
        upstream="The body stands at the margin, and is put there after the prompt: `return` outside a function.",
        answer='''if len(numbers) < 2:
    return []
return [abs(a - b) for a, b in zip(numbers, numbers[1:])]
```
''',
        program=GAPS.prompt + (
            "    if len(numbers) < 2:\n"
            "        return []\n"
            "    return [abs(a - b) for a, b in zip(numbers, numbers[1:])]\n"
            "    "
        ),
    ),
    Case(
        "continuation-helper-after", "continuation", DEPTH, "humaneval_instruct",
        upstream='The answer is cut at "\\ndef", and with it goes the helper that the body calls.',
        answer='''    return _depth(brackets)


def _depth(text):
    depth = deepest = 0
    for bracket in text:
        depth += 1 if bracket == '(' else -1
        if depth < 0:
            return -1
        deepest = max(deepest, depth)
    return deepest if depth == 0 else -1
```
''',
        program=DEPTH.prompt + '''    return _depth(brackets)


def _depth(text):
    depth = deepest = 0
    for bracket in text:
        depth += 1 if bracket == '(' else -1
        if depth < 0:
            return -1
        deepest = max(deepest, depth)
    return deepest if depth == 0 else -1''',
    ),
    Case(
        "continuation-comment-at-margin", "continuation", CLOSEST, "humaneval",
        upstream='The answer is cut at "\\n#", although the comment at the margin does not end the function.',
        answer='''    if len(numbers) < 2:
        return None
    best = None
# try all pairs of neighbours in sorted order
    ordered = sorted(numbers)
    for low, high in zip(ordered, ordered[1:]):
        if best is None or high - low < best[1] - best[0]:
            best = (low, high)
    return best
''',
        program=CONTINUED,
    ),
    Case(
        "continuation-own-asserts", "continuation", ROTATE, "humaneval",
        upstream="same",
        answer='''    if not word:
        return word
    return word[-1] + word[:-1]

assert rotate_right('bca') == 'abc'
assert rotate_right(rotate_left('word')) == 'word'
''',
        program=CONTINUED,
    ),
    Case(
        "continuation-main-guard", "continuation", DEPTH, "humaneval",
        upstream="same",
        answer='''    depth = deepest = 0
    for bracket in brackets:
        if bracket == '(':
            depth += 1
        else:
            depth -= 1
        if depth < 0:
            return -1
        deepest = max(deepest, depth)
    if depth != 0:
        return -1
    return deepest

if __name__ == "__main__":
    print(nestingDepth(input()))
''',
        program=CONTINUED,
    ),
    Case(
        "continuation-in-a-new-fence", "continuation", VOWELS, "humaneval_instruct",
        upstream="The fence that is opened anew comes first, so that nothing but the prompt is kept.",
        answer='''```python
    runs = re.findall('[aeiou]+', text, re.IGNORECASE)
    return max(map(len, runs), default=0)

import re
```
''',
        program=VOWELS.prompt + '''    runs = re.findall('[aeiou]+', text, re.IGNORECASE)
    return max(map(len, runs), default=0)

import re''',
    ),
    # --- Bare ---
    Case(
        "bare-restarted", "bare", GAPS, "humaneval_instruct",
        upstream="same",
        answer='''def neighbour_gaps(numbers: List[int]) -> List[int]:
    return [abs(numbers[i] - numbers[i - 1]) for i in range(1, len(numbers))]
```
''',
        program='''from typing import List


def neighbour_gaps(numbers: List[int]) -> List[int]:
    return [abs(numbers[i] - numbers[i - 1]) for i in range(1, len(numbers))]
''',
    ),
    Case(
        "bare-import-first", "bare", VOWELS, "humaneval_instruct",
        upstream='The answer is cut at the first "\\ndef", which is that of the function itself.',
        answer='''import re


def longest_vowel_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"[aeiou]+", text.lower())), default=0)
''',
        program=ANSWER,
    ),
    Case(
        "bare-done", "bare", SECOND, "mbpp",
        upstream="same",
        answer='''def second_largest(nums):
  nums = sorted(set(nums))
  if len(nums) < 2:
    return None
  return nums[-2]
[DONE]

You are an expert Python programmer, and here is your task: Write a function to find the smallest number of a list.
[BEGIN]
def smallest(nums):
  return min(nums)
[DONE]
''',
        program='''def second_largest(nums):
  nums = sorted(set(nums))
  if len(nums) < 2:
    return None
  return nums[-2]
''',
    ),
    Case(
        "bare-leading-blank", "bare", DIGITS, "mbpp",
        upstream="A tokenizer's leading blank is kept: unexpected indent.",
        answer=''' def sum_Digits(n):
    return sum(int(digit) for digit in str(n))
''',
        program='''def sum_Digits(n):
   return sum(int(digit) for digit in str(n))
''',
    ),
    Case(
        "bare-closing-fence", "bare", TURN, "mbpp_instruct",
        upstream="Upstream puts ``` in front and takes the word after it, `def`, for the language tag.",
        answer='''def rotate_list(items, k):
    if not items:
        return items
    k %= len(items)
    return items[-k:] + items[:-k]
```''',
        program='''def rotate_list(items, k):
    if not items:
        return items
    k %= len(items)
    return items[-k:] + items[:-k]
''',
    ),
    Case(
        "bare-newline-first", "bare", TURN, "mbpp_instruct",
        upstream="same",
        answer='''
def rotate_list(lst, n):
    if not lst:
        return []
    n = n % len(lst)
    return lst[len(lst) - n:] + lst[:len(lst) - n]
```
''',
        program='''def rotate_list(lst, n):
    if not lst:
        return []
    n = n % len(lst)
    return lst[len(lst) - n:] + lst[:len(lst) - n]
''',
    ),
    Case(
        "bare-import-then-closing-fence", "bare", LENGTHS, "mbpp_instruct",
        upstream="Upstream puts ``` in front and takes the word after it, `from`, for the language tag.",
        answer='''from collections import Counter

def count_lengths(sentence):
    return dict(Counter(len(word) for word in sentence.split()))
```
''',
        program='''from collections import Counter

def count_lengths(sentence):
    return dict(Counter(len(word) for word in sentence.split()))
''',
    ),
    Case(
        "bare-comment-first", "bare", DIGITS, "mbpp_instruct",
        upstream="same",
        answer='''# Function to find the sum of the digits of a number
def sum_Digits(n):
    total = 0
    while n > 0:
        total += n % 10
        n //= 10
    return total
```
''',
        program='''# Function to find the sum of the digits of a number
def sum_Digits(n):
    total = 0
    while n > 0:
        total += n % 10
        n //= 10
    return total
''',
    ),
    Case(
        "bare-complexity-after", "bare", DIVISORS, "mbpp",
        upstream="`Time: O(n)` is an annotation to Python, which evaluates it: NameError.",
        answer='''def common_divisors(a, b):
    result = []
    for i in range(1, min(a, b) + 1):
        if a % i == 0 and b % i == 0:
            result.append(i)
    return result

Time: O(n)
Space: O(1)
''',
        program='''def common_divisors(a, b):
    result = []
    for i in range(1, min(a, b) + 1):
        if a % i == 0 and b % i == 0:
            result.append(i)
    return result
''',
    ),
    Case(
        "bare-helpers-and-imports", "bare", DIVISORS, "mbpp",
        upstream="same",
        answer='''from math import gcd

def divisors(n):
    return [i for i in range(1, n + 1) if n % i == 0]

def common_divisors(a, b):
    return divisors(gcd(a, b))
''',
        program=ANSWER,
    ),
    Case(
        "bare-codellama-tags", "bare", EMAIL, "mbpp",
        upstream="The tags [PYTHON] and [/PYTHON] stay in the program, which is then no Python.",
        answer=r'''[PYTHON]
import re
def check_address(address):
    if re.fullmatch(r"[\w.]+@\w+\.\w+", address):
        return 'Valid'
    return 'Invalid'
[/PYTHON]
[TESTS]
# Test case 1:
assert check_address('ann@site.org') == 'Valid'
[/TESTS]
''',
        program=r'''
import re
def check_address(address):
    if re.fullmatch(r"[\w.]+@\w+\.\w+", address):
        return 'Valid'
    return 'Invalid'
''',
    ),
    Case(
        "bare-lambda", "bare", DIGITS, "mbpp",
        upstream="same",
        answer='''sum_Digits = lambda n: sum(map(int, str(n)))
''',
        program=ANSWER,
    ),
    Case(
        "bare-copied-from-a-chat-page", "bare", SECOND, "mbpp",
        upstream="The page's words `python` and `Copy code` stay in the program, which is then no Python.",
        answer='''python
Copy code
def second_largest(numbers):
    unique = sorted(set(numbers), reverse=True)
    return unique[1] if len(unique) > 1 else None
''',
        program='''def second_largest(numbers):
    unique = sorted(set(numbers), reverse=True)
    return unique[1] if len(unique) > 1 else None
''',
    ),
    # --- Fenced ---
    Case(
        "fenced-whole", "fenced", GAPS, "humaneval_instruct",
        upstream="The answer's fence comes first, so that nothing but the prompt is kept.",
        answer='''```python
from typing import List


def neighbour_gaps(numbers: List[int]) -> List[int]:
    """ Return the absolute differences of neighbouring numbers.
    >>> neighbour_gaps([1, 4, 2])
    [3, 2]
    >>> neighbour_gaps([7])
    []
    """
    gaps = []
    for left, right in zip(numbers, numbers[1:]):
        gaps.append(abs(left - right))
    return gaps
```
''',
        program=GAPS.prompt + '''    gaps = []
    for left, right in zip(numbers, numbers[1:]):
        gaps.append(abs(left - right))
    return gaps
''',
    ),
    Case(
        "fenced-without-the-import", "fenced", ROUND, "humaneval_instruct",
        upstream="The answer's fence comes first, so that nothing but the prompt is kept.",
        answer='''```python
def round_up(value: float, step: float) -> float:
    return step * math.ceil(value / step)
```
''',
        program='''import math


def round_up(value: float, step: float) -> float:
    return step * math.ceil(value / step)
''',
    ),
    Case(
        "fenced-mbpp", "fenced", SECOND, "mbpp",
        upstream="The fence stays in the program, which is then no Python.",
        answer='''```python
def second_largest(numbers):
    distinct = set(numbers)
    if len(distinct) < 2:
        return None
    distinct.remove(max(distinct))
    return max(distinct)
```
''',
        program='''def second_largest(numbers):
    distinct = set(numbers)
    if len(distinct) < 2:
        return None
    distinct.remove(max(distinct))
    return max(distinct)
''',
    ),
    Case(
        "fenced-in-the-prompts-fence", "fenced", TURN, "mbpp_instruct",
        upstream="The prompt's fence and the answer's, side by side, are taken for an empty block.",
        answer='''```python
def rotate_list(numbers, times):
    for _ in range(times):
        if numbers:
            numbers = [numbers[-1]] + numbers[:-1]
    return numbers
```
''',
        program='''def rotate_list(numbers, times):
    for _ in range(times):
        if numbers:
            numbers = [numbers[-1]] + numbers[:-1]
    return numbers
''',
    ),
    Case(
        "fenced-no-tag", "fenced", CLOSEST, "humaneval_instruct",
        upstream="The answer's fence comes first, so that nothing but the prompt is kept.",
        answer='''```
def closest_pair(numbers: List[float]) -> Optional[Tuple[float, float]]:
    if len(numbers) < 2:
        return None
    numbers.sort()
    gap, low, high = min((high - low, low, high) for low, high in zip(numbers, numbers[1:]))
    return low, high
```
''',
        program='''from typing import List, Optional, Tuple


def closest_pair(numbers: List[float]) -> Optional[Tuple[float, float]]:
    if len(numbers) < 2:
        return None
    numbers.sort()
    gap, low, high = min((high - low, low, high) for low, high in zip(numbers, numbers[1:]))
    return low, high
''',
    ),
    Case(
        "fenced-tildes", "fenced", DIGITS, "mbpp",
        upstream="The fence stays in the program, which is then no Python.",
        answer='''~~~python
def sum_Digits(n):
    return n % 10 + sum_Digits(n // 10) if n else 0
~~~
''',
        program='''def sum_Digits(n):
    return n % 10 + sum_Digits(n // 10) if n else 0
''',
    ),
    Case(
        "fenced-code-beside-the-tag", "fenced", TURN, "mbpp_instruct",
        upstream="The prompt's fence and the answer's, side by side, are taken for an empty block.",
        answer='''```python def rotate_list(lst, k):
    k = k % len(lst) if lst else 0
    return lst[-k:] + lst[:-k]
```
''',
        program='''def rotate_list(lst, k):
    k = k % len(lst) if lst else 0
    return lst[-k:] + lst[:-k]
''',
    ),
    Case(
        "fenced-code-beside-the-fence", "fenced", DIGITS, "mbpp",
        upstream="The fence stays in the program, which is then no Python.",
        answer='''```def sum_Digits(n):
    return sum([int(i) for i in str(n)])```
''',
        program='''def sum_Digits(n):
    return sum([int(i) for i in str(n)])
''',
    ),
    Case(
        "fenced-in-a-list", "fenced", LENGTHS, "mbpp",
        upstream="The list and the fence stay in the program, which is then no Python.",
        answer='''1. **Split the sentence** into words and count them:

   ```python
   def count_lengths(sentence):
       lengths = {}
       for word in sentence.split():
           lengths[len(word)] = lengths.get(len(word), 0) + 1
       return lengths
   ```

2. **Return** the dictionary.
''',
        program='''def count_lengths(sentence):
    lengths = {}
    for word in sentence.split():
        lengths[len(word)] = lengths.get(len(word), 0) + 1
    return lengths
''',
    ),
    Case(
        "fenced-answer-in-a-fence", "fenced", SECOND, "mbpp_instruct",
        upstream="The prompt's fence and the answer's, side by side, are taken for an empty block.",
        answer='''````markdown
Here's the function:

```python
def second_largest(values):
    values = sorted(set(values))
    return values[-2] if len(values) > 1 else None
```
````
''',
        program='''def second_largest(values):
    values = sorted(set(values))
    return values[-2] if len(values) > 1 else None
''',
    ),
    Case(
        "fenced-tag-line-lost", "fenced", DIVISORS, "mbpp_instruct",
        upstream="same",
        answer='''
def common_divisors(x, y):
    return [d for d in range(1, min(x, y) + 1) if x % d == y % d == 0]
```

**Explanation:**

* `range(1, min(x, y) + 1)` covers all possible divisors.
* `x % d == y % d == 0` is true only if `d` divides both numbers.
''',
        program='''def common_divisors(x, y):
    return [d for d in range(1, min(x, y) + 1) if x % d == y % d == 0]
''',
    ),
    # --- Several blocks ---
    Case(
        "blocks-usage-after", "several blocks", GAPS, "humaneval_instruct",
        upstream="same",
        answer='''    result = []
    for i in range(1, len(numbers)):
        result.append(abs(numbers[i] - numbers[i-1]))
    return result
```

You can use the function like this:

```python
print(neighbour_gaps([1, 4, 2]))  # [3, 2]
```
''',
        program=GAPS.prompt + '''    result = []
    for i in range(1, len(numbers)):
        result.append(abs(numbers[i] - numbers[i-1]))
    return result''',
    ),
    Case(
        "blocks-example-first", "several blocks", SECOND, "mbpp",
        upstream="Prose and fences stay in the program, which is then no Python.",
        answer='''For example, given

```python
numbers = [5, 5, 2]
```

the result should be `2`. The function can be written as follows:

```python
def second_largest(numbers):
    first = second = None
    for n in numbers:
        if first is None or n > first:
            first, second = n, first
        elif n != first and (second is None or n > second):
            second = n
    return second
```
''',
        program='''def second_largest(numbers):
    first = second = None
    for n in numbers:
        if first is None or n > first:
            first, second = n, first
        elif n != first and (second is None or n > second):
            second = n
    return second
''',
    ),
    Case(
        "blocks-helper-apart", "several blocks", DIVISORS, "mbpp_instruct",
        upstream="The prose before the first fence is taken for a block, of which `First` is the language tag.",
        answer='''First, write a helper that lists the divisors of one number:

```python
def divisors(n):
    return {i for i in range(1, n + 1) if n % i == 0}
```

Then the common divisors are the intersection:

```python
def common_divisors(a, b):
    return sorted(divisors(a) & divisors(b))
```
''',
        program='''def divisors(n):
    return {i for i in range(1, n + 1) if n % i == 0}


def common_divisors(a, b):
    return sorted(divisors(a) & divisors(b))
''',
    ),
    Case(
        "blocks-signature-quoted", "several blocks", VOWELS, "humaneval_instruct",
        upstream="The text before the first fence, a sentence, is put after the prompt.",
        answer='''The task is to complete this function:

```python
def longest_vowel_run(text: str) -> int:
    """ Given a text, return the length of its longest run of consecutive vowels. """
    # Your code here
    pass
```

Here's how you can do it:

```python
from itertools import groupby

def longest_vowel_run(text: str) -> int:
    runs = groupby(text.lower(), key=lambda letter: letter in "aeiou")
    return max((len(list(run)) for is_vowel, run in runs if is_vowel), default=0)
```
''',
        program='''from itertools import groupby

def longest_vowel_run(text: str) -> int:
    runs = groupby(text.lower(), key=lambda letter: letter in "aeiou")
    return max((len(list(run)) for is_vowel, run in runs if is_vowel), default=0)
''',
    ),
    Case(
        "blocks-tests-first", "several blocks", DIGITS, "mbpp",
        upstream="Prose and fences stay in the program, which is then no Python.",
        answer='''Let's write the tests first (`test_digits.py`):

```python
from digits import sum_Digits

assert sum_Digits(345) == 12
```

Now the implementation (`digits.py`):

```python
def sum_Digits(n):
    return sum(int(d) for d in str(n))
```
''',
        program='''def sum_Digits(n):
    return sum(int(d) for d in str(n))
''',
    ),
    Case(
        "blocks-two-versions", "several blocks", FIBONACCI, "mbpp_instruct",
        upstream="The prose before the first fence is taken for a block, of which `There` is the language tag.",
        answer='''There are two ways to do this. The recursive one:

```python
from functools import lru_cache

@lru_cache(maxsize=None)
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
```

And the iterative one, which uses less memory:

```python
def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a
```
''',
        program='''from functools import lru_cache

@lru_cache(maxsize=None)
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
''',
    ),
    Case(
        "blocks-input-in-the-example", "several blocks", FIBONACCI, "mbpp",
        upstream="Prose and fences stay in the program, which is then no Python.",
        answer='''```python
def fibonacci(n):
    sequence = [0, 1]
    while len(sequence) <= n:
        sequence.append(sequence[-1] + sequence[-2])
    return sequence[n]
```

Example usage:

```python
n = int(input("Enter a number: "))
print(f"The {n}-th Fibonacci number is {fibonacci(n)}")
```
''',
        program='''def fibonacci(n):
    sequence = [0, 1]
    while len(sequence) <= n:
        sequence.append(sequence[-1] + sequence[-2])
    return sequence[n]
''',
    ),
    Case(
        "blocks-install-first", "several blocks", LENGTHS, "mbpp",
        upstream="Prose and fences stay in the program, which is then no Python.",
        answer='''No packages are needed, but you should have Python 3:

```bash
python3 --version
```

```python
from collections import defaultdict

def count_lengths(s):
    counts = defaultdict(int)
    for w in s.split():
        counts[len(w)] += 1
    return dict(counts)
```

Output:

```
{3: 3}
```
''',
        program='''from collections import defaultdict

def count_lengths(s):
    counts = defaultdict(int)
    for w in s.split():
        counts[len(w)] += 1
    return dict(counts)
''',
    ),
    Case(
        "blocks-imports-apart", "several blocks", EMAIL, "mbpp",
        upstream="Prose and fences stay in the program, which is then no Python.",
        answer=r'''Step 1: import the `re` module.

```python
import re
```

Step 2: define the function.

```python
def check_address(text):
    return "Valid" if re.match(PATTERN, text) else "Invalid"
```

Step 3: define the pattern.

```python
PATTERN = r"^[a-z0-9.]+@[a-z0-9]+\.[a-z]{2,}$"
```
''',
        program=r'''import re


def check_address(text):
    return "Valid" if re.match(PATTERN, text) else "Invalid"


PATTERN = r"^[a-z0-9.]+@[a-z0-9]+\.[a-z]{2,}$"
''',
    ),
    Case(
        "blocks-class-and-function", "several blocks", BOXES, "mbpp_instruct",
        upstream="The prose before the first fence is taken for a block, of which `The` is the language tag.",
        answer='''The tests use a class `Box`, so we define it:

```python
class Box:
    def __init__(self, length, width, height):
        self.length = length
        self.width = width
        self.height = height

    def volume(self):
        return self.length * self.width * self.height
```

and then the function itself:

```python
def max_volume(boxes, n):
    return max(box.volume() for box in boxes[:n])
```
''',
        program='''class Box:
    def __init__(self, length, width, height):
        self.length = length
        self.width = width
        self.height = height

    def volume(self):
        return self.length * self.width * self.height


def max_volume(boxes, n):
    return max(box.volume() for box in boxes[:n])
''',
    ),
    # --- Repeated signature ---
    Case(
        "signature-with-docstring", "repeated signature", DEPTH, "humaneval_instruct",
        upstream="same",
        answer="""def nestingDepth(brackets):
    '''
    Create a function which takes a string of '(' and ')', and returns how deep they are nested.
    If they do not match, return -1.
    '''
    depth = 0
    max_depth = 0
    for char in brackets:
        if char == '(':
            depth += 1
            max_depth = max(max_depth, depth)
        elif char == ')':
            depth -= 1
            if depth < 0:
                return -1
    return max_depth if depth == 0 else -1
```
""",
        program="""def nestingDepth(brackets):
    '''
    Create a function which takes a string of '(' and ')', and returns how deep they are nested.
    If they do not match, return -1.
    '''
    depth = 0
    max_depth = 0
    for char in brackets:
        if char == '(':
            depth += 1
            max_depth = max(max_depth, depth)
        elif char == ')':
            depth -= 1
            if depth < 0:
                return -1
    return max_depth if depth == 0 else -1
""",
    ),
    Case(
        "signature-whole-prompt", "repeated signature", CLOSEST, "humaneval",
        upstream='The answer is cut at the first "\\ndef", which is that of the function itself.',
        answer='''from typing import List, Optional, Tuple


def closest_pair(numbers: List[float]) -> Optional[Tuple[float, float]]:
    """ From a list of numbers, return the two that are closest to each other, the smaller one first.
    Return None if there are fewer than two.
    >>> closest_pair([5.0, 1.0, 4.5])
    (4.5, 5.0)
    """
    if len(numbers) < 2:
        return None
    pairs = [(a, b) if a < b else (b, a) for i, a in enumerate(numbers) for b in numbers[i + 1:]]
    return min(pairs, key=lambda p: p[1] - p[0])
''',
        program=ANSWER,
    ),
    Case(
        "signature-after-a-blank-line", "repeated signature", VOWELS, "humaneval",
        upstream='The answer begins with "\\ndef", at which it is cut: nothing is left.',
        answer='''
def longest_vowel_run(text: str) -> int:
    longest = current = 0
    for ch in text:
        if ch in "aeiouAEIOU":
            current += 1
            longest = max(longest, current)
        else:
            current = 0
    return longest
''',
        program='''def longest_vowel_run(text: str) -> int:
    longest = current = 0
    for ch in text:
        if ch in "aeiouAEIOU":
            current += 1
            longest = max(longest, current)
        else:
            current = 0
    return longest
''',
    ),
    Case(
        "signature-and-the-prompts-helper", "repeated signature", ROTATE, "humaneval_instruct",
        upstream="The answer's fence comes first, so that nothing but the prompt is kept.",
        answer='''```python
def rotate_left(word: str) -> str:
    """
    moves the first letter of the word to its end.
    """
    return word[1:] + word[:1]


def rotate_right(word: str) -> str:
    """
    takes as input a word that was changed by rotate_left. Returns the word as it was before.
    """
    for _ in range(len(word) - 1):
        word = rotate_left(word)
    return word
```
''',
        program='''def rotate_left(word: str) -> str:
    """
    moves the first letter of the word to its end.
    """
    return word[1:] + word[:1]


def rotate_right(word: str) -> str:
    """
    takes as input a word that was changed by rotate_left. Returns the word as it was before.
    """
    for _ in range(len(word) - 1):
        word = rotate_left(word)
    return word
''',
    ),
    Case(
        "signature-without-the-helper", "repeated signature", ROTATE, "humaneval_instruct",
        upstream="same",
        answer='''def rotate_right(word: str) -> str:
    original = word
    while word and rotate_left(word) != original:
        word = rotate_left(word)
    return word
```
''',
        program='''def rotate_left(word: str) -> str:
    """
    moves the first letter of the word to its end.
    """
    return word[1:] + word[:1]


def rotate_right(word: str) -> str:
    original = word
    while word and rotate_left(word) != original:
        word = rotate_left(word)
    return word
''',
    ),
    Case(
        "signature-indented", "repeated signature", GAPS, "humaneval_instruct",
        upstream="The function becomes an inner one of the prompt's, which returns nothing.",
        answer='''    def neighbour_gaps(numbers: List[int]) -> List[int]:
        return [abs(x - y) for x, y in zip(numbers, numbers[1:])]
```
''',
        program='''from typing import List


def neighbour_gaps(numbers: List[int]) -> List[int]:
    return [abs(x - y) for x, y in zip(numbers, numbers[1:])]
''',
    ),
    Case(
        "signature-indented-and-called", "repeated signature", GAPS, "humaneval",
        upstream="same",
        answer='''    def gaps(values: List[int]) -> List[int]:
        return [abs(x - y) for x, y in zip(values, values[1:])]

    return gaps(numbers)
''',
        program=CONTINUED,
    ),
    Case(
        "signature-other-argument-names", "repeated signature", ROUND, "humaneval_instruct",
        upstream="same",
        answer='''def round_up(x, multiple):
    remainder = x % multiple
    return x if remainder == 0 else x + multiple - remainder
```

I renamed the arguments to make the code more readable.
''',
        program='''import math


def round_up(x, multiple):
    remainder = x % multiple
    return x if remainder == 0 else x + multiple - remainder
''',
    ),
    Case(
        "signature-prompt-twice", "repeated signature", REPORT, "humaneval_instruct",
        upstream='The answer is cut at the first "\\ndef", which is that of the function itself.',
        answer=r'''from typing import Dict


def to_report(title: str, counts: Dict[str, int]) -> str:
    """ Return a report in Markdown: the title as a heading, a blank line, and an item for each count.
    """
    pass


from typing import Dict


def to_report(title: str, counts: Dict[str, int]) -> str:
    """ Return a report in Markdown: the title as a heading, a blank line, and an item for each count.
    """
    items = [f"- {name}: {count}\n" for name, count in counts.items()]
    return f"# {title}\n\n" + "".join(items)
''',
        program=ANSWER,
    ),
    # --- Prose around ---
    Case(
        "prose-qwen", "prose around", VOWELS, "humaneval_instruct",
        upstream="The text before the first fence, a sentence, is put after the prompt.",
        answer=r'''To solve this problem, we can keep track of the current run of vowels. Here's the complete code:

```python
def longest_vowel_run(text: str) -> int:
    vowels = set("aeiou")
    longest = 0
    current = 0
    for char in text.lower():
        if char in vowels:
            current += 1
            longest = max(longest, current)
        else:
            current = 0
    return longest

# Test cases
print(longest_vowel_run('queue'))  # Output: 4
print(longest_vowel_run('rhythm'))  # Output: 0
```

### Explanation:
1. **Initialization**: We start with `longest` and `current` at 0.
2. **Iteration**: For each character, we check if it's a vowel.
3. **Return**: The longest run is returned.

This approach has a time complexity of \(O(n)\), where \(n\) is the length of the text.
''',
        program='''def longest_vowel_run(text: str) -> int:
    vowels = set("aeiou")
    longest = 0
    current = 0
    for char in text.lower():
        if char in vowels:
            current += 1
            longest = max(longest, current)
        else:
            current = 0
    return longest

# Test cases
print(longest_vowel_run('queue'))  # Output: 4
print(longest_vowel_run('rhythm'))  # Output: 0
''',
    ),
    Case(
        "prose-llama", "prose around", CLOSEST, "humaneval_instruct",
        upstream='The answer is cut at the first "\\ndef", and what precedes it, a sentence, is put after the prompt.',
        answer='''Here is the solution to the problem:

def closest_pair(numbers: List[float]) -> Optional[Tuple[float, float]]:
    if len(numbers) < 2:
        return None

    numbers.sort()
    closest = (numbers[0], numbers[1])
    for i in range(1, len(numbers) - 1):
        if numbers[i + 1] - numbers[i] < closest[1] - closest[0]:
            closest = (numbers[i], numbers[i + 1])

    return closest

This function first checks if the list has fewer than two numbers. If it doesn't, it sorts the list and compares the
differences between neighbours, since the closest pair must be adjacent after sorting.
''',
        program='''from typing import List, Optional, Tuple


def closest_pair(numbers: List[float]) -> Optional[Tuple[float, float]]:
    if len(numbers) < 2:
        return None

    numbers.sort()
    closest = (numbers[0], numbers[1])
    for i in range(1, len(numbers) - 1):
        if numbers[i + 1] - numbers[i] < closest[1] - closest[0]:
            closest = (numbers[i], numbers[i + 1])

    return closest
''',
    ),
    Case(
        "prose-mistral", "prose around", DIGITS, "mbpp",
        upstream="Prose and fences stay in the program, which is then no Python.",
        answer=''' Here's a Python function that calculates the sum of the digits of a number:

```python
def sum_Digits(n):
    digit_sum = 0
    while n:
        digit_sum += n % 10
        n = n // 10
    return digit_sum
```

You can test it with the provided test cases:

```python
assert sum_Digits(345) == 12
assert sum_Digits(0) == 0
assert sum_Digits(97) == 16
```

All the tests should pass, meaning the function is working correctly.
''',
        program='''def sum_Digits(n):
    digit_sum = 0
    while n:
        digit_sum += n % 10
        n = n // 10
    return digit_sum
''',
    ),
    Case(
        "prose-gemma", "prose around", SECOND, "mbpp_instruct",
        upstream="The prompt's fence and the answer's, side by side, are taken for an empty block.",
        answer='''```python
def second_largest(data):
  """Finds the second largest distinct number of a list.

  Args:
    data: A list of numbers.

  Returns:
    The second largest number, or None if there isn't one.
  """
  unique = list(set(data))
  unique.sort()
  return unique[-2] if len(unique) >= 2 else None
```

**Explanation:**

* **Duplicates:** `set(data)` removes them.
* **Sorting:** `unique.sort()` sorts in ascending order.
* **Edge case:** If there's only one number, we return `None`.

Let me know if you'd like to explore other ways to solve this!
''',
        program='''def second_largest(data):
  """Finds the second largest distinct number of a list.

  Args:
    data: A list of numbers.

  Returns:
    The second largest number, or None if there isn't one.
  """
  unique = list(set(data))
  unique.sort()
  return unique[-2] if len(unique) >= 2 else None
''',
    ),
    Case(
        "prose-deepseek-thinks", "prose around", TURN, "mbpp_instruct",
        upstream="The thought before the first fence is taken for a block.",
        answer='''<think>
Okay, so I need to rotate a list to the right. Slicing should do:

```python
def rotate_list(lst, k):
    return lst[-k:] + lst[:-k]
```

Wait, but if k is larger than the length, that's wrong. Let me use the modulo, and mind the empty list.
</think>

To rotate the list, reduce `k` modulo the length and join the two slices:

```python
def rotate_list(lst, k):
    if len(lst) == 0:
        return []
    k = k % len(lst)
    return lst[-k:] + lst[:-k]
```
''',
        program='''def rotate_list(lst, k):
    if len(lst) == 0:
        return []
    k = k % len(lst)
    return lst[-k:] + lst[:-k]
''',
    ),
    Case(
        "prose-thought-begun-by-the-template", "prose around", ROTATE, "humaneval_instruct",
        upstream="The text before the first fence, a thought, is put after the prompt.",
        answer='''Alright, rotate_left moves the first letter to the end. So rotate_right returns:

    return word[0] + word[1:]

No, that's the word itself. The last letter is word[-1], but that fails for the empty word; a slice doesn't.
</think>

Here is the completed function:

```python
def rotate_right(word: str) -> str:
    return word[-1:] + word[:-1]
```
''',
        program='''def rotate_left(word: str) -> str:
    """
    moves the first letter of the word to its end.
    """
    return word[1:] + word[:1]


def rotate_right(word: str) -> str:
    return word[-1:] + word[:-1]
''',
    ),
    Case(
        "prose-heading-after-the-body", "prose around", ROUND, "humaneval",
        upstream="same",
        answer='''    quotient = value / step
    return math.ceil(quotient) * step

### Explanation
The value isn't changed if it's a multiple of the step already.
''',
        program=ROUND.prompt + '''    quotient = value / step
    return math.ceil(quotient) * step

### Explanation
''',
    ),
    Case(
        "prose-triple-ticks-inline", "prose around", LENGTHS, "mbpp",
        upstream="Prose and fences stay in the program, which is then no Python.",
        answer='''You can use ```split``` to get the words, and ```len``` for their lengths:

```python
def count_lengths(sentence):
    result = {}
    for word in sentence.split():
        result.setdefault(len(word), 0)
        result[len(word)] += 1
    return result
```
''',
        program='''def count_lengths(sentence):
    result = {}
    for word in sentence.split():
        result.setdefault(len(word), 0)
        result[len(word)] += 1
    return result
''',
    ),
    Case(
        "prose-indented-code", "prose around", DIVISORS, "mbpp",
        upstream="The prose stays in the program, which is then no Python.",
        answer='''A common divisor can't be larger than the smaller number, so it's enough to try those:

    def common_divisors(a, b):
        divisors = []
        for n in range(1, min(a, b) + 1):
            if a % n == 0 and b % n == 0:
                divisors.append(n)
        return divisors

Hope this helps!
''',
        program='''def common_divisors(a, b):
    divisors = []
    for n in range(1, min(a, b) + 1):
        if a % n == 0 and b % n == 0:
            divisors.append(n)
    return divisors
''',
    ),
    Case(
        "prose-before-the-body", "prose around", DEPTH, "humaneval_instruct",
        upstream="The sentence before the body is put after the prompt with it.",
        answer='''Here is the body of the function:

    depth = 0
    deepest = 0
    for bracket in brackets:
        depth += {'(': 1, ')': -1}[bracket]
        if depth < 0:
            return -1
        deepest = max(depth, deepest)
    return -1 if depth else deepest
''',
        program=DEPTH.prompt + (
            "    depth = 0\n"
            "    deepest = 0\n"
            "    for bracket in brackets:\n"
            "        depth += {'(': 1, ')': -1}[bracket]\n"
            "        if depth < 0:\n"
            "            return -1\n"
            "        deepest = max(depth, deepest)\n"
            "    return -1 if depth else deepest\n"
            "    "
        ),
    ),
    Case(
        "prose-between-functions", "prose around", DIVISORS, "mbpp",
        upstream="The prose stays in the program, which is then no Python.",
        answer='''We'll use Euclid's algorithm to find the greatest common divisor:

def gcd(a, b):
    while b:
        a, b = b, a % b
    return a

Each common divisor divides it. So the function you're looking for is:

def common_divisors(a, b):
    g = gcd(a, b)
    return [d for d in range(1, g + 1) if g % d == 0]

Note that `gcd` is also available in the module `math`.
''',
        program='''def gcd(a, b):
    while b:
        a, b = b, a % b
    return a


def common_divisors(a, b):
    g = gcd(a, b)
    return [d for d in range(1, g + 1) if g % d == 0]
''',
    ),
    Case(
        "prose-apostrophes-after", "prose around", EMAIL, "mbpp",
        upstream="The prose stays in the program, which is then no Python.",
        answer=r'''import re

def check_address(email):
    pattern = r'^\w+@\w+\.\w+$'
    if re.search(pattern, email):
        return 'Valid'
    else:
        return 'Invalid'

It's a simple pattern: it doesn't accept dots in the user's name.
''',
        program=r'''import re

def check_address(email):
    pattern = r'^\w+@\w+\.\w+$'
    if re.search(pattern, email):
        return 'Valid'
    else:
        return 'Invalid'
''',
    ),
    # --- Wrong language tag ---
    Case(
        "tag-javascript", "wrong language tag", SECOND, "mbpp",
        upstream="The fence stays in the program, which is then no Python.",
        answer='''```javascript
def second_largest(arr):
    arr = sorted(list(set(arr)))
    if len(arr) < 2:
        return None
    return arr[-2]
```
''',
        program='''def second_largest(arr):
    arr = sorted(list(set(arr)))
    if len(arr) < 2:
        return None
    return arr[-2]
''',
    ),
    Case(
        "tag-text", "wrong language tag", GAPS, "humaneval_instruct",
        upstream="The answer's fence comes first, so that nothing but the prompt is kept.",
        answer='''```plaintext
def neighbour_gaps(numbers: List[int]) -> List[int]:
    return list(map(lambda a, b: abs(a - b), numbers, numbers[1:]))
```
''',
        program='''from typing import List


def neighbour_gaps(numbers: List[int]) -> List[int]:
    return list(map(lambda a, b: abs(a - b), numbers, numbers[1:]))
''',
    ),
    Case(
        "tag-repeated-after-the-prompts-fence", "wrong language tag", TURN, "mbpp_instruct",
        upstream="same",
        answer='''python
def rotate_list(l, n):
    n = n % len(l) if l else 0
    return l[-n:] + l[:-n]
```
''',
        program='''
def rotate_list(l, n):
    n = n % len(l) if l else 0
    return l[-n:] + l[:-n]
''',
    ),
    Case(
        "tag-attributes", "wrong language tag", EMAIL, "mbpp",
        upstream="The fence stays in the program, which is then no Python.",
        answer='''``` {.python .numberLines startFrom="1"}
import re

def check_address(s):
    return 'Valid' if re.fullmatch('[a-z]+@[a-z]+[.][a-z]+', s) else 'Invalid'
```
''',
        program='''import re

def check_address(s):
    return 'Valid' if re.fullmatch('[a-z]+@[a-z]+[.][a-z]+', s) else 'Invalid'
''',
    ),
    Case(
        "tag-two-languages", "wrong language tag", FIBONACCI, "mbpp",
        upstream="Prose and fences stay in the program, which is then no Python.",
        answer='''In JavaScript:

```javascript
function fibonacci(n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}
```

In Python:

```python
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
```
''',
        program='''def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
''',
    ),
    Case(
        "tag-on-the-closing-fence", "wrong language tag", CLOSEST, "humaneval_instruct",
        upstream="same",
        answer='''    ordered = sorted(numbers)
    pairs = zip(ordered, ordered[1:])
    return min(pairs, key=lambda pair: pair[1] - pair[0], default=None)
```python
''',
        program=CLOSEST.prompt + '''    ordered = sorted(numbers)
    pairs = zip(ordered, ordered[1:])
    return min(pairs, key=lambda pair: pair[1] - pair[0], default=None)''',
    ),
    Case(
        "tag-with-a-blank", "wrong language tag", LENGTHS, "mbpp_instruct",
        upstream="The prompt's fence and the answer's, side by side, are taken for an empty block.",
        answer='''```Python 3
from collections import Counter

def count_lengths(sentence):
    return Counter(map(len, sentence.split()))
```
''',
        program='''from collections import Counter

def count_lengths(sentence):
    return Counter(map(len, sentence.split()))
''',
    ),
    Case(
        "tag-bash", "wrong language tag", DIGITS, "mbpp",
        upstream="Prose and fences stay in the program, which is then no Python.",
        answer='''Save this as `digits.py`:

```bash
def sum_Digits(n):
    s = str(n)
    return sum(int(s[i]) for i in range(len(s)))
```

and run it:

```python
python digits.py
```
''',
        program='''def sum_Digits(n):
    s = str(n)
    return sum(int(s[i]) for i in range(len(s)))
''',
    ),
    # --- Truncated ---
    Case(
        "truncated-closing-fence-missing", "truncated", SECOND, "mbpp_instruct",
        upstream="Without a closing fence there is no block, and nothing is returned.",
        answer='''
def second_largest(lst):
    largest = second = None
    for x in lst:
        if largest is None or x > largest:
            largest, second = x, largest
        elif x != largest and (second is None or x > second):
            second = x
    return second
''',
        program='''def second_largest(lst):
    largest = second = None
    for x in lst:
        if largest is None or x > largest:
            largest, second = x, largest
        elif x != largest and (second is None or x > second):
            second = x
    return second
''',
    ),
    Case(
        "truncated-fence-never-closed", "truncated", VOWELS, "humaneval_instruct",
        upstream="The answer's fence comes first, so that nothing but the prompt is kept.",
        answer='''```python
import re

def longest_vowel_run(text: str) -> int:
    runs = re.findall(r'[aeiouAEIOU]+', text)
    return len(max(runs, key=len)) if runs else 0
''',
        program='''import re

def longest_vowel_run(text: str) -> int:
    runs = re.findall(r'[aeiouAEIOU]+', text)
    return len(max(runs, key=len)) if runs else 0
''',
    ),
    Case(
        "truncated-in-an-example", "truncated", DIGITS, "mbpp",
        upstream="The call that is cut in its middle stays in the program, which is then no Python.",
        answer='''def sum_Digits(n):
    result = 0
    for digit in str(n):
        result += int(digit)
    return result

print(sum_Digits(345))
print(sum_Digits(0
''',
        program='''def sum_Digits(n):
    result = 0
    for digit in str(n):
        result += int(digit)
    return result

print(sum_Digits(345))
''',
    ),
    Case(
        "truncated-in-another-function", "truncated", TURN, "mbpp",
        upstream="The function that is cut in its signature stays in the program, which is then no Python.",
        answer='''def rotate_list(list1, k):
    if not list1:
        return list1
    k = k % len(list1)
    result = list1[-k:] + list1[:-k]
    return result

def rotate_list_left(list1, k
''',
        program='''def rotate_list(list1, k):
    if not list1:
        return list1
    k = k % len(list1)
    result = list1[-k:] + list1[:-k]
    return result
''',
    ),
    Case(
        "truncated-in-a-docstring", "truncated", EMAIL, "mbpp_instruct",
        upstream="Without a closing fence there is no block, and nothing is returned.",
        answer=r'''
import re

def check_address(address):
    """Checks an address against a simple pattern."""
    return "Valid" if re.match(r"[^@]+@[^@.]+\.[^@]+$", address) else "Invalid"

def check_addresses(addresses):
    """Checks many addresses.

    Args:
        addresses: The addresses that are to be
''',
        program=r'''import re

def check_address(address):
    """Checks an address against a simple pattern."""
    return "Valid" if re.match(r"[^@]+@[^@.]+\.[^@]+$", address) else "Invalid"
''',
    ),
    Case(
        "truncated-line-after-the-return", "truncated", ROTATE, "humaneval",
        upstream="The statement that is cut in its middle stays in the program, which is then no Python.",
        answer='''    if word == '':
        return ''
    return word[-1] + word[:-1]
    return ''.join([word[-1], word[
''',
        program=ROTATE.prompt + '''    if word == '':
        return ''
    return word[-1] + word[:-1]
''',
    ),
    Case(
        "truncated-fence-of-two-ticks", "truncated", DIVISORS, "mbpp_instruct",
        upstream="Without a closing fence there is no block, and nothing is returned.",
        answer='''
def common_divisors(m, n):
    return [i for i in range(1, min(m, n) + 1) if m % i == 0 and n % i == 0]
``''',
        program='''def common_divisors(m, n):
    return [i for i in range(1, min(m, n) + 1) if m % i == 0 and n % i == 0]
''',
    ),
    Case(
        "truncated-opening-fence", "truncated", LENGTHS, "mbpp",
        upstream="The closing fence and what follows it stay in the program, which is then no Python.",
        answer='''def count_lengths(text):
    d = {}
    for w in text.split():
        d[len(w)] = d.get(len(w), 0) + 1
    return d
```

This function splits the text at its blanks. It's O(n).
''',
        program='''def count_lengths(text):
    d = {}
    for w in text.split():
        d[len(w)] = d.get(len(w), 0) + 1
    return d
''',
    ),
    Case(
        "truncated-in-the-explanation", "truncated", REPORT, "humaneval_instruct",
        upstream="same",
        answer=r'''    lines = ["# " + title, ""]
    for name in counts:
        lines.append("- {}: {}".format(name, counts[name]))
    return "\n".join(lines) + "\n"
```

Explanation:

1. We start with the heading and a blank line.
2. For each of the counts, we add
''',
        program=REPORT.prompt + r'''    lines = ["# " + title, ""]
    for name in counts:
        lines.append("- {}: {}".format(name, counts[name]))
    return "\n".join(lines) + "\n"''',
    ),
    Case(
        "truncated-next-block", "truncated", FIBONACCI, "mbpp_instruct",
        upstream="same",
        answer='''
def fibonacci(n):
    a, b = 0, 1
    for i in range(n):
        a, b = b, a + b
    return a
```

Example usage:

```python
for i in range(10):
    print(fibonacci(
''',
        program='''def fibonacci(n):
    a, b = 0, 1
    for i in range(n):
        a, b = b, a + b
    return a
''',
    ),
    # --- Tabs and CRLF ---
    Case(
        "tabs-body", "tabs and CRLF", GAPS, "humaneval",
        upstream="Tabs after the docstring's four blanks: inconsistent indentation.",
        answer=(
            "\tgaps = []\n"
            "\tfor i in range(len(numbers) - 1):\n"
            "\t\tgaps.append(abs(numbers[i] - numbers[i + 1]))\n"
            "\treturn gaps\n"
        ),
        program=GAPS.prompt + '''    gaps = []
    for i in range(len(numbers) - 1):
        gaps.append(abs(numbers[i] - numbers[i + 1]))
    return gaps
''',
    ),
    Case(
        "crlf-body", "tabs and CRLF", VOWELS, "humaneval",
        upstream="same",
        answer=(
            "    count = 0\r\n"
            "    best = 0\r\n"
            "    for c in text.lower():\r\n"
            "        if c in ['a', 'e', 'i', 'o', 'u']:\r\n"
            "            count += 1\r\n"
            "        else:\r\n"
            "            count = 0\r\n"
            "        best = max(best, count)\r\n"
            "    return best\r\n"
        ),
        program=VOWELS.prompt + '''    count = 0
    best = 0
    for c in text.lower():
        if c in ['a', 'e', 'i', 'o', 'u']:
            count += 1
        else:
            count = 0
        best = max(best, count)
    return best
''',
    ),
    Case(
        "crlf-and-tabs-as-in-mbpp", "tabs and CRLF", DIVISORS, "mbpp",
        upstream="same",
        answer=(
            "def common_divisors(a, b): \r\n"
            "\tres = [] \r\n"
            "\tfor i in range(1, min(a, b) + 1): \r\n"
            "\t\tif (a % i == 0) and (b % i == 0): \r\n"
            "\t\t\tres.append(i) \r\n"
            "\treturn (res) "
        ),
        program=(
            "def common_divisors(a, b): \n"
            "\tres = [] \n"
            "\tfor i in range(1, min(a, b) + 1): \n"
            "\t\tif (a % i == 0) and (b % i == 0): \n"
            "\t\t\tres.append(i) \n"
            "\treturn (res) \n"
        ),
    ),
    Case(
        "crlf-fenced", "tabs and CRLF", CLOSEST, "humaneval_instruct",
        upstream="The answer's fence comes first, so that nothing but the prompt is kept.",
        answer=(
            "```python\r\n"
            "from itertools import combinations\r\n"
            "\r\n"
            "def closest_pair(numbers: List[float]) -> Optional[Tuple[float, float]]:\r\n"
            "    pairs = [tuple(sorted(pair)) for pair in combinations(numbers, 2)]\r\n"
            "    return min(pairs, key=lambda pair: pair[1] - pair[0]) if pairs else None\r\n"
            "```\r\n"
            "Done!\r\n"
        ),
        program='''from typing import List, Optional, Tuple


from itertools import combinations

def closest_pair(numbers: List[float]) -> Optional[Tuple[float, float]]:
    pairs = [tuple(sorted(pair)) for pair in combinations(numbers, 2)]
    return min(pairs, key=lambda pair: pair[1] - pair[0]) if pairs else None
''',
    ),
    Case(
        "crlf-in-the-prompts-fence", "tabs and CRLF", BOXES, "mbpp_instruct",
        upstream="same",
        answer=(
            "\r\n"
            "class Box(object):\r\n"
            "    def __init__(self, l, w, h):\r\n"
            "        self.l, self.w, self.h = l, w, h\r\n"
            "\r\n"
            "def max_volume(boxes, n):\r\n"
            "    best = 0\r\n"
            "    for i in range(n):\r\n"
            "        best = max(best, boxes[i].l * boxes[i].w * boxes[i].h)\r\n"
            "    return best\r\n"
            "```\r\n"
        ),
        program='''class Box(object):
    def __init__(self, l, w, h):
        self.l, self.w, self.h = l, w, h

def max_volume(boxes, n):
    best = 0
    for i in range(n):
        best = max(best, boxes[i].l * boxes[i].w * boxes[i].h)
    return best
''',
    ),
    Case(
        "tabs-after-a-first-line-in-blanks", "tabs and CRLF", DEPTH, "humaneval_instruct",
        upstream="The body is indented with four blanks in its first line and with tabs in the others.",
        answer=(
            "    depth = deepest = 0\n"
            "\tfor char in brackets:\n"
            "\t\tdepth = depth + 1 if char == '(' else depth - 1\n"
            "\t\tif depth < 0:\n"
            "\t\t\treturn -1\n"
            "\t\tdeepest = max(deepest, depth)\n"
            "\treturn -1 if depth > 0 else deepest\n"
            "```\n"
        ),
        program=DEPTH.prompt + '''    depth = deepest = 0
    for char in brackets:
        depth = depth + 1 if char == '(' else depth - 1
        if depth < 0:
            return -1
        deepest = max(deepest, depth)
    return -1 if depth > 0 else deepest''',
    ),
    Case(
        "tabs-fenced", "tabs and CRLF", SECOND, "mbpp",
        upstream="The fence stays in the program, which is then no Python.",
        answer=(
            "```python\n"
            "def second_largest(a):\n"
            "\tm = max(a)\n"
            "\trest = [x for x in a if x != m]\n"
            "\tif rest:\n"
            "\t\treturn max(rest)\n"
            "```\n"
        ),
        program=(
            "def second_largest(a):\n"
            "\tm = max(a)\n"
            "\trest = [x for x in a if x != m]\n"
            "\tif rest:\n"
            "\t\treturn max(rest)\n"
        ),
    ),
    Case(
        "two-blank-body", "tabs and CRLF", GAPS, "humaneval",
        upstream="The body is indented by two blanks, after the docstring's four: unindent.",
        answer='''  res = []
  for x, y in zip(numbers, numbers[1:]):
    res.append(abs(x - y))
  return res
''',
        program=GAPS.prompt + (
            "    res = []\n"
            "    for x, y in zip(numbers, numbers[1:]):\n"
            "      res.append(abs(x - y))\n"
            "    return res\n"
            "    "
        ),
    ),
    # --- Class wrapper ---
    Case(
        "class-solution", "class wrapper", TURN, "mbpp",
        upstream="The function is a method: NameError.",
        answer='''class Solution:
    def rotate_list(self, nums, k):
        if not nums:
            return nums
        k %= len(nums)
        return nums[-k:] + nums[:-k]
''',
        program='''class Solution:
    def rotate_list(self, nums, k):
        if not nums:
            return nums
        k %= len(nums)
        return nums[-k:] + nums[:-k]


rotate_list = Solution().rotate_list
''',
    ),
    Case(
        "class-solution-fenced", "class wrapper", DEPTH, "humaneval_instruct",
        upstream="The answer's fence comes first, so that nothing but the prompt is kept.",
        answer='''```python
class Solution:
    def nestingDepth(self, brackets: str) -> int:
        depth, best = 0, 0
        for b in brackets:
            depth += 1 if b == "(" else -1
            if depth < 0:
                return -1
            best = max(best, depth)
        return best if depth == 0 else -1
```
''',
        program='''class Solution:
    def nestingDepth(self, brackets: str) -> int:
        depth, best = 0, 0
        for b in brackets:
            depth += 1 if b == "(" else -1
            if depth < 0:
                return -1
            best = max(best, depth)
        return best if depth == 0 else -1


nestingDepth = Solution().nestingDepth
''',
    ),
    Case(
        "class-static", "class wrapper", FIBONACCI, "mbpp",
        upstream="The function is a method: NameError.",
        answer='''class Math:
    @staticmethod
    def fibonacci(n):
        if n <= 2:
            return 1
        return Math.fibonacci(n - 1) + Math.fibonacci(n - 2)
''',
        program='''class Math:
    @staticmethod
    def fibonacci(n):
        if n <= 2:
            return 1
        return Math.fibonacci(n - 1) + Math.fibonacci(n - 2)


fibonacci = Math.fibonacci
''',
    ),
    Case(
        "class-after-the-body", "class wrapper", ROUND, "humaneval",
        upstream="same",
        answer='''    return math.ceil(value / step) * step


class Rounder:
    def __init__(self, step: float):
        self.step = step

    def __call__(self, value: float) -> float:
        return round_up(value, self.step)
''',
        program=CONTINUED,
    ),
    Case(
        "class-of-the-tests", "class wrapper", BOXES, "mbpp",
        upstream="same",
        answer='''class Box:
    def __init__(self, a, b, c):
        self.a = a
        self.b = b
        self.c = c

def max_volume(arr, n):
    return max(x.a * x.b * x.c for x in arr[:n])
''',
        program=ANSWER,
    ),
    Case(
        "class-with-helper-method", "class wrapper", DIVISORS, "mbpp_instruct",
        upstream="The prompt's fence and the answer's, side by side, are taken for an empty block.",
        answer='''```python
class Solution:
    def divides(self, d, n):
        return n % d == 0

    def common_divisors(self, a, b):
        return [d for d in range(1, a + 1) if self.divides(d, a) and self.divides(d, b)]

print(Solution().common_divisors(12, 18))
```
''',
        program='''class Solution:
    def divides(self, d, n):
        return n % d == 0

    def common_divisors(self, a, b):
        return [d for d in range(1, a + 1) if self.divides(d, a) and self.divides(d, b)]

print(Solution().common_divisors(12, 18))


common_divisors = Solution().common_divisors
''',
    ),
    Case(
        "class-and-a-function-that-calls-it", "class wrapper", DIGITS, "mbpp",
        upstream="same",
        answer='''class DigitSummer:
    def __init__(self, number):
        self.number = number

    def total(self):
        return sum(int(c) for c in str(self.number))

def sum_Digits(n):
    return DigitSummer(n).total()
''',
        program=ANSWER,
    ),
    Case(
        "class-first", "class wrapper", GAPS, "humaneval_instruct",
        upstream="The function is a method, and the prompt's own returns nothing.",
        answer='''class Solution:
    def neighbour_gaps(self, numbers: List[int]) -> List[int]:
        return [abs(b - a) for a, b in zip(numbers, numbers[1:])]
```
''',
        program='''from typing import List


class Solution:
    def neighbour_gaps(self, numbers: List[int]) -> List[int]:
        return [abs(b - a) for a, b in zip(numbers, numbers[1:])]


neighbour_gaps = Solution().neighbour_gaps
''',
    ),
    # --- Doctests ---
    Case(
        "doctest-after-the-body", "doctests", GAPS, "humaneval",
        upstream="The session after the code stays in the program, which is then no Python.",
        answer='''    return [abs(a - b) for a, b in zip(numbers[:-1], numbers[1:])]

>>> neighbour_gaps([1, 4, 2])
[3, 2]
>>> neighbour_gaps([7])
[]
''',
        program=GAPS.prompt + '''    return [abs(a - b) for a, b in zip(numbers[:-1], numbers[1:])]

''',
    ),
    Case(
        "doctest-testmod", "doctests", SECOND, "mbpp",
        upstream="same",
        answer='''import doctest

def second_largest(numbers):
    """
    >>> second_largest([1, 5, 3])
    3
    >>> second_largest([4]) is None
    True
    """
    numbers = sorted(set(numbers))
    return numbers[-2] if len(numbers) > 1 else None

if __name__ == "__main__":
    doctest.testmod()
''',
        program=ANSWER,
    ),
    Case(
        "doctest-in-the-docstring", "doctests", LENGTHS, "mbpp_instruct",
        upstream="The prompt's fence and the answer's, side by side, are taken for an empty block.",
        answer='''```python
def count_lengths(sentence):
    """
    Counts the words of a sentence by their length.

    >>> count_lengths('the cat ate')
    {3: 3}
    """
    lengths = [len(word) for word in sentence.split()]
    return {length: lengths.count(length) for length in lengths}
```

```
>>> count_lengths('a bc de')
{1: 1, 2: 2}
```
''',
        program='''def count_lengths(sentence):
    """
    Counts the words of a sentence by their length.

    >>> count_lengths('the cat ate')
    {3: 3}
    """
    lengths = [len(word) for word in sentence.split()]
    return {length: lengths.count(length) for length in lengths}
''',
    ),
    Case(
        "doctest-after-the-function", "doctests", TURN, "mbpp",
        upstream="The session after the code stays in the program, which is then no Python.",
        answer='''def rotate_list(xs, k):
    n = len(xs)
    return [xs[(i - k) % n] for i in range(n)]

>>> rotate_list([1, 2, 3, 4], 1)
[4, 1, 2, 3]
''',
        program='''def rotate_list(xs, k):
    n = len(xs)
    return [xs[(i - k) % n] for i in range(n)]
''',
    ),
    Case(
        "doctest-docstring-again", "doctests", CLOSEST, "humaneval",
        upstream="same",
        answer='''    """
    >>> closest_pair([9.0, 2.0, 4.0])
    (2.0, 4.0)
    """
    best = None
    numbers = sorted(numbers)
    for i in range(1, len(numbers)):
        if best is None or numbers[i] - numbers[i - 1] < best[1] - best[0]:
            best = (numbers[i - 1], numbers[i])
    return best
''',
        program=CONTINUED,
    ),
    Case(
        "doctest-session", "doctests", DIGITS, "mbpp",
        upstream="The prompts of the session stay in the program, which is then no Python.",
        answer='''>>> def sum_Digits(n):
...     return sum(int(d) for d in str(n))
...
>>> sum_Digits(345)
12
''',
        program='''def sum_Digits(n):
    return sum(int(d) for d in str(n))

sum_Digits(345)
''',
    ),
    # --- Markdown in strings ---
    Case(
        "markdown-fence-in-a-docstring", "markdown in strings", FENCE, "humaneval_instruct",
        upstream="The answer is cut at the first ```, which stands in the docstring.",
        answer=r'''    """ The block looks like this:

    ```python
    x = 1
    ```
    """
    return f"```{language}\n{code}\n```"
```
''',
        program=FENCE.prompt + r'''    """ The block looks like this:

    ```python
    x = 1
    ```
    """
    return f"```{language}\n{code}\n```"
''',
    ),
    Case(
        "markdown-fence-in-the-expression", "markdown in strings", BLOCK, "mbpp_instruct",
        upstream="The block is taken to end at the first ```, which stands in a string.",
        answer=r'''
def code_block(text):
    return "```\n" + text + "\n```"
```
''',
        program=r'''def code_block(text):
    return "```\n" + text + "\n```"
''',
    ),
    Case(
        "markdown-fence-bare", "markdown in strings", BLOCK, "mbpp",
        upstream="same",
        answer=r'''def code_block(code):
    fence = "```"
    return "\n".join([fence, code, fence])
''',
        program=ANSWER,
    ),
    Case(
        "markdown-heading-in-a-template", "markdown in strings", REPORT, "humaneval",
        upstream='The answer is cut at "\\n#", which stands in a string.',
        answer=r'''    template = """
# {}

{}
"""
    items = "\n".join(f"- {name}: {counts[name]}" for name in counts)
    return template.format(title, items)[1:]
''',
        program=CONTINUED,
    ),
    Case(
        "markdown-two-fences-in-a-docstring", "markdown in strings", BLOCK, "mbpp",
        upstream="Prose and fences stay in the program, which is then no Python.",
        answer=r'''Here's the function, with two examples in its docstring:

```python
def code_block(text):
    """Put a text into a Markdown code block.

    A command:
    ```
    ls
    ```

    A program:
    ```
    x = 1
    ```
    """
    return "```\n{}\n```".format(text)
```

It doesn't add a language.
''',
        program=r'''def code_block(text):
    """Put a text into a Markdown code block.

    A command:
    ```
    ls
    ```

    A program:
    ```
    x = 1
    ```
    """
    return "```\n{}\n```".format(text)
''',
    ),
    Case(
        "markdown-fence-after-quotes", "markdown in strings", FENCE, "humaneval_instruct",
        upstream="The answer's fence comes first, so that nothing but the prompt is kept.",
        answer='''```python
def to_fence(code: str, language: str) -> str:
    if language == "python":
        return """```python
""" + code + """
```"""
    return """```{}
{}
```""".format(language, code)
```

Here, the triple quotes are needed because the string spans several lines.
''',
        program='''def to_fence(code: str, language: str) -> str:
    if language == "python":
        return """```python
""" + code + """
```"""
    return """```{}
{}
```""".format(language, code)
''',
    ),
    Case(
        "markdown-list", "markdown in strings", REPORT, "humaneval",
        upstream="same",
        answer=r'''    report = f'# {title}\n\n'
    for name, count in counts.items():
        report += f'- {name}: {count}\n'
    return report
''',
        program=CONTINUED,
    ),
    Case(
        "markdown-code-in-a-string", "markdown in strings", REPORT, "humaneval_instruct",
        upstream="The answer is cut at the first ```, which stands in the docstring.",
        answer=r'''def to_report(title: str, counts: Dict[str, int]) -> str:
    """ Return a report in Markdown.

    For example,
    ```
    def to_report(title, counts):
        return ''
    ```
    would be wrong.
    """
    return '\n'.join(['# ' + title, ''] + ['- %s: %d' % item for item in counts.items()]) + '\n'
```
''',
        program=r'''from typing import Dict


def to_report(title: str, counts: Dict[str, int]) -> str:
    """ Return a report in Markdown.

    For example,
    ```
    def to_report(title, counts):
        return ''
    ```
    would be wrong.
    """
    return '\n'.join(['# ' + title, ''] + ['- %s: %d' % item for item in counts.items()]) + '\n'
''',
    ),
    Case(
        "markdown-done-in-a-string", "markdown in strings", TODO, "mbpp",
        upstream="The answer is cut at [DONE], which stands in a string.",
        answer='''def mark_done(item):
    return item.replace("[TODO]", "[DONE]")
[DONE]
''',
        program='''def mark_done(item):
    return item.replace("[TODO]", "[DONE]")
''',
    ),
    # --- No program ---
    Case(
        "none-refusal", "no program", EMAIL, "mbpp_instruct",
        upstream="There is nothing to be found.",
        answer='''I'm sorry, but I can't help with collecting email addresses. Is there something else I can do for you?
''',
        program="",
        passes=False,
    ),
    Case(
        "none-empty", "no program", VOWELS, "humaneval",
        upstream="There is nothing to be found.",
        answer="",
        program="",
        passes=False,
    ),
    Case(
        "none-prose", "no program", DIGITS, "mbpp",
        upstream="There is nothing to be found.",
        answer='''To find the sum of the digits, convert the number to a string and add up its characters as integers.
Would you like me to write the code?
''',
        program="",
        passes=False,
    ),
    Case(
        "none-other-language", "no program", FIBONACCI, "mbpp_instruct",
        upstream="There is nothing to be found.",
        answer='''```cpp
#include <iostream>

int fibonacci(int n) {
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}
```
''',
        program="",
        passes=False,
    ),
    Case(
        "none-prompt-repeated", "no program", GAPS, "humaneval_instruct",
        upstream="There is nothing to be found.",
        answer='''```python
from typing import List


def neighbour_gaps(numbers: List[int]) -> List[int]:
    """ Return the absolute differences of neighbouring numbers.
    >>> neighbour_gaps([1, 4, 2])
    [3, 2]
    >>> neighbour_gaps([7])
    []
    """
    # Your code here
```
''',
        program=GAPS.prompt + '''    # Your code here
''',
        passes=False,
    ),
    Case(
        "none-todo", "no program", DEPTH, "humaneval",
        upstream="There is nothing to be found.",
        answer='''    # TODO: implement this function
    pass
''',
        program='''# TODO: implement this function
pass
''',
        passes=False,
    ),
    # --- Wrong answer ---
    Case(
        "wrong-off-by-one", "wrong answer", GAPS, "humaneval",
        upstream="The answer is wrong.",
        answer='''    return [abs(numbers[i] - numbers[i + 1]) for i in range(len(numbers))]
''',
        program=CONTINUED,
        passes=False,
    ),
    Case(
        "wrong-fenced", "wrong answer", SECOND, "mbpp",
        upstream="The answer is wrong.",
        answer='''```python
def second_largest(numbers):
    numbers.sort()
    return numbers[-2]
```
''',
        program='''def second_largest(numbers):
    numbers.sort()
    return numbers[-2]
''',
        passes=False,
    ),
    Case(
        "wrong-name", "wrong answer", DIGITS, "mbpp",
        upstream="The answer has another name than the one that is asked for.",
        answer='''def sum_digits(n):
    return sum(int(d) for d in str(n))
''',
        program=ANSWER,
        passes=False,
    ),
    Case(
        "wrong-missing-import", "wrong answer", EMAIL, "mbpp",
        upstream="The answer does not import what it uses.",
        answer=r'''def check_address(address):
    if re.match(r"^\w+@\w+\.\w+$", address):
        return "Valid"
    return "Invalid"
''',
        program=ANSWER,
        passes=False,
    ),
    Case(
        "wrong-cut-before-its-end", "wrong answer", DEPTH, "humaneval_instruct",
        upstream="The answer ends too early.",
        answer='''    depth = 0
    deepest = 0
    for bracket in brackets:
        if bracket == '(':
            depth += 1
            deepest = max(deepest,
''',
        program=DEPTH.prompt + '''    depth = 0
    deepest = 0
    for bracket in brackets:
        if bracket == '(':
            depth += 1
''',
        passes=False,
    ),
    Case(
        "wrong-own-assert", "wrong answer", LENGTHS, "mbpp",
        upstream="The answer's own assertion fails, before any test.",
        answer='''def count_lengths(sentence):
    counts = {}
    for word in sentence.split(' '):
        if word:
            counts[len(word)] = counts.get(len(word), 0) + 1
    return counts

assert count_lengths('one two') == {3: 1}
''',
        program=ANSWER,
        passes=False,
    ),
    Case(
        "wrong-reads-input", "wrong answer", FIBONACCI, "mbpp",
        upstream="The answer reads a number that nobody enters.",
        answer='''def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a

n = int(input("Enter n: "))
print(fibonacci(n))
''',
        program=ANSWER,
        passes=False,
    ),
    Case(
        "wrong-corrected-afterwards", "wrong answer", TURN, "mbpp_instruct",
        upstream="Of two versions the first is taken, though the second corrects it.",
        answer='''
def rotate_list(lst, k):
    return lst[-k:] + lst[:-k]
```

Wait, this fails if `k` is larger than the list. Here is the corrected version:

```python
def rotate_list(lst, k):
    k = k % len(lst) if lst else 0
    return lst[-k:] + lst[:-k]
```
''',
        program='''def rotate_list(lst, k):
    k = k % len(lst) if lst else 0
    return lst[-k:] + lst[:-k]
''',
    ),
]

"""Records to vectors: one readable file per model, one training loop, frozen encoders with a card.

Importing this package loads no torch.
"""

import os

# The steps of these small networks last milliseconds. OpenMP threads that spin between them make a fit several times
# slower as soon as another process wants the same cores; threads that sleep cost little on an idle machine. OpenMP
# reads this once, when torch is first loaded; a value the user has set stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

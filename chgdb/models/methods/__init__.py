"""What property models are made of: Gaussian processes, trees and networks."""

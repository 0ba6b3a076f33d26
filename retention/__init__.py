"""Retention classes, holds, disposition: the schedule decides, the logs prove. (Arrives with its own issue.)"""
